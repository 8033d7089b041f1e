#include "base/trace.h"

#include <algorithm>
#include <chrono>

namespace ingot {
namespace {

int64_t SteadyNs() {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(
             std::chrono::steady_clock::now().time_since_epoch())
      .count();
}

// Labels of FLUX.1 with T5, CLIP and the decoder: 2800 take 1.2 MiB.
constexpr int64_t kLabelBytes = 2 << 20;

}  // namespace

Trace::Trace(size_t max_spans) : start_ns_(SteadyNs()), spans_(max_spans), rows_{"compute"} {}

int64_t Trace::num_bytes(size_t max_spans) {
  return static_cast<int64_t>(max_spans * sizeof(Span)) + kLabelBytes;
}

Trace::Row Trace::AddRow(std::string name) {
  rows_.push_back(std::move(name));
  return static_cast<Row>(rows_.size() - 1);
}

Trace::Label Trace::AddLabel(Text text) {
  if (!phase_.empty()) text.args.emplace_back("phase", phase_);
  const auto [at, is_new] = label_of_.try_emplace(text, static_cast<Label>(labels_.size()));
  if (is_new) labels_.push_back(std::move(text));
  return at->second;
}

Trace::Span* Trace::Begin(Row row, Label label) {
  const size_t i = num_spans_.fetch_add(1, std::memory_order_relaxed);
  if (i >= spans_.size()) return nullptr;
  spans_[i] = {.begin_ns = Now(), .end_ns = -1, .label = label, .row = row};
  return &spans_[i];
}

int64_t Trace::Now() const { return SteadyNs() - start_ns_; }

std::vector<Trace::Span> Trace::Spans() const {
  std::vector<Span> ended;
  const size_t num_kept = std::min(num_spans_.load(), spans_.size());
  std::copy_if(spans_.begin(), spans_.begin() + static_cast<ptrdiff_t>(num_kept),
               std::back_inserter(ended), [](const Span& span) { return span.end_ns >= 0; });
  return ended;
}

size_t Trace::num_dropped() const {
  const size_t num_spans = num_spans_;
  return num_spans - std::min(num_spans, spans_.size());
}

}  // namespace ingot
