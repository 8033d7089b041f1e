#include "base/trace.h"

#include <gtest/gtest.h>

#include <atomic>
#include <map>
#include <thread>

#include "base/thread_pool.h"

namespace ingot {
namespace {

TEST(Trace, SpansNestInTheirScopes) {
  Trace trace(10);
  const Trace::Label outer = trace.AddLabel({.category = "op", .name = "outer"});
  const Trace::Label inner = trace.AddLabel({.category = "op", .name = "inner"});
  {
    const TraceSpan around(&trace, outer);
    const TraceSpan within(&trace, inner);
  }
  const std::vector<Trace::Span> spans = trace.Spans();
  ASSERT_EQ(spans.size(), 2u);
  EXPECT_EQ(trace.labels()[spans[0].label].name, "outer");
  EXPECT_LE(spans[0].begin_ns, spans[1].begin_ns);
  EXPECT_LE(spans[1].begin_ns, spans[1].end_ns);
  EXPECT_LE(spans[1].end_ns, spans[0].end_ns);
}

TEST(Trace, LeavesOutSpansThatAreUnderWay) {
  Trace trace(10);
  trace.Begin(Trace::kComputeRow, 0);
  EXPECT_TRUE(trace.Spans().empty());
}

TEST(Trace, CountsWhatDoesNotFit) {
  Trace trace(2);
  for (int i = 0; i < 5; ++i) const TraceSpan span(&trace, 0);
  EXPECT_EQ(trace.Spans().size(), 2u);
  EXPECT_EQ(trace.num_dropped(), 3u);
}

TEST(Trace, LabelsAreOneATextAndPhase) {
  Trace trace(0);
  const auto add = [&] { return trace.AddLabel({.category = "op", .name = "linear"}); };
  trace.set_phase("t5");
  const Trace::Label in_t5 = add();
  EXPECT_EQ(add(), in_t5);
  trace.set_phase("sampling");
  EXPECT_NE(add(), in_t5);
}

TEST(Trace, NoTraceNoSpan) {
  const TraceSpan span(nullptr, 0);
  const TracePhase phase(nullptr, "t5");
}

TEST(Trace, EveryThreadOfALoopHasOneSpanOnItsRow) {
  Trace trace(1000);
  ThreadPool pool(3);
  pool.set_trace(&trace);
  const Trace::Label op = trace.AddLabel({.category = "op", .name = "linear"});
  trace.set_op(op);
  constexpr size_t kLoops = 20;
  for (size_t loop = 0; loop < kLoops; ++loop) {
    pool.ParallelFor(50, [](size_t, size_t) { std::this_thread::yield(); });
  }
  std::map<Trace::Row, int64_t> ends;
  std::map<Trace::Row, size_t> counts;
  for (const Trace::Span& span : trace.Spans()) {
    ASSERT_LT(span.row, trace.rows().size());
    EXPECT_GE(span.begin_ns, ends[span.row]) << "two loops overlap on row " << span.row;
    ends[span.row] = span.end_ns;
    ++counts[span.row];
    if (span.row != Trace::kComputeRow) {
      EXPECT_EQ(span.label, op);
    }
  }
  EXPECT_EQ(counts[Trace::kComputeRow], kLoops);
  for (const auto& [row, count] : counts) EXPECT_LE(count, kLoops);
  pool.set_trace(nullptr);
  pool.ParallelFor(50, [](size_t, size_t) {});
  EXPECT_EQ(trace.num_dropped(), 0u);
}

}  // namespace
}  // namespace ingot
