// What each thread of a job did when: spans of time, kept in a buffer of fixed size.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <vector>

namespace ingot {

// Rows and labels are made between runs, by one thread; spans are recorded by any thread and
// allocate nothing. Whoever takes no trace has a null pointer in its place.
class Trace {
 public:
  using Row = uint32_t;    // one a thread
  using Label = uint32_t;  // what a span says
  static constexpr Row kComputeRow = 0;

  struct Span {
    int64_t begin_ns = 0;  // since the trace was made
    int64_t end_ns = -1;   // -1: under way
    Label label = 0;
    Row row = 0;
  };
  struct Text {
    std::string category;  // "phase", "run", "op", "loop", "read", "write", "wait"
    std::string name;
    std::vector<std::pair<std::string, std::string>> args = {};
    friend auto operator<=>(const Text&, const Text&) = default;
  };

  // A step of FLUX.1 at 1024x1024 takes some 5000 spans. Those above `max_spans` are counted only.
  static constexpr size_t kMaxSpans = size_t{1} << 18;
  explicit Trace(size_t max_spans = kMaxSpans);
  Trace(const Trace&) = delete;
  Trace& operator=(const Trace&) = delete;

  // A bound of what spans, labels and rows take.
  static int64_t num_bytes(size_t max_spans = kMaxSpans);

  Row AddRow(std::string name);  // a new one
  Label AddLabel(Text text);     // the same text in the same phase: the same label

  // An argument of all labels made from now on.
  void set_phase(std::string phase) { phase_ = std::move(phase); }
  const std::string& phase() const { return phase_; }

  // Whose loops the workers run from now on. Set between loops.
  void set_op(Label op) { op_ = op; }
  Label op() const { return op_; }

  // Null when the buffer is full.
  Span* Begin(Row row, Label label);
  void End(Span* span) const {
    if (span != nullptr) span->end_ns = Now();
  }
  int64_t Now() const;

  // When no thread records. Spans of a row in the order in which they began.
  const std::vector<std::string>& rows() const { return rows_; }
  const std::vector<Text>& labels() const { return labels_; }
  std::vector<Span> Spans() const;  // those that have ended
  size_t num_dropped() const;

 private:
  const int64_t start_ns_;
  std::vector<Span> spans_;
  std::atomic<size_t> num_spans_ = 0;  // the dropped ones among them
  std::vector<std::string> rows_;
  std::vector<Text> labels_;
  std::map<Text, Label> label_of_;
  std::string phase_;
  Label op_ = 0;
};

// From construction to the end of the scope; nothing without a trace.
class TraceSpan {
 public:
  TraceSpan(Trace* trace, Trace::Label label, Trace::Row row = Trace::kComputeRow)
      : trace_(trace), span_(trace != nullptr ? trace->Begin(row, label) : nullptr) {}
  ~TraceSpan() {
    if (span_ != nullptr) trace_->End(span_);
  }
  TraceSpan(const TraceSpan&) = delete;
  TraceSpan& operator=(const TraceSpan&) = delete;

 private:
  Trace* trace_;
  Trace::Span* span_;
};

// A phase of a job: a span on the row of the thread that computes.
class TracePhase {
 public:
  TracePhase(Trace* trace, const std::string& name) : span_(trace, LabelOf(trace, name)) {}

 private:
  static Trace::Label LabelOf(Trace* trace, const std::string& name) {
    if (trace == nullptr) return 0;
    trace->set_phase(name);
    return trace->AddLabel({.category = "phase", .name = name});
  }

  TraceSpan span_;
};

}  // namespace ingot
