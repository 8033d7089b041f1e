#include "runtime/weight_stream.h"

#include <algorithm>
#include <cstring>

#include "base/check.h"
#include "base/stopwatch.h"
#include "tensor/codec.h"

namespace ingot {

WeightStream::WeightStream(const TensorFile& file, const TransferPlan& plan,
                           std::span<const Target> targets, std::span<std::byte> staging,
                           bool has_residents, Trace* trace)
    : file_(file),
      plan_(plan),
      targets_(targets),
      staging_(staging),
      begins_with_residents_(has_residents),
      trace_(trace) {
  INGOT_CHECK(targets.size() == plan.loads.size());
  INGOT_CHECK(static_cast<int64_t>(staging.size()) >= kStagingBytes);
  if (trace_ != nullptr) LabelLoads();
  reader_ = std::jthread([this](std::stop_token stop) { Read(stop); });
}

WeightStream::~WeightStream() = default;  // of jthread: requests the stop and joins

void WeightStream::LabelLoads() {
  trace_row_ = trace_->AddRow(fmt::format("weights of {}", trace_->phase()));
  wait_label_ = trace_->AddLabel({.category = "wait", .name = "weights"});
  for (const Target& target : targets_) {
    load_labels_.push_back(
        trace_->AddLabel({.category = "read",
                          .name = target.entry->name,
                          .args = {{"bytes", std::to_string(target.entry->num_bytes)}}}));
  }
}

Status WeightStream::Wait(int step, std::stop_token stop) {
  std::unique_lock lock(mutex_);
  INGOT_CHECK(num_steps_done_ % plan_.num_steps == step);
  const int64_t run = num_steps_done_ / plan_.num_steps;
  if (num_runs_begun_ != run + 1) {
    num_runs_begun_ = run + 1;
    changed_.notify_all();
  }
  const int64_t needed = run * num_loads() + plan_.num_loads_before[static_cast<size_t>(step)];
  const auto is_there = [&] { return num_loads_done_ >= needed; };
  if (is_there()) return {};
  const TraceSpan span(trace_, wait_label_);
  const Stopwatch watch;
  changed_.wait(lock, stop, [&] { return is_there() || !error_.ok(); });
  stalled_s_ += watch.seconds();
  if (is_there()) return {};
  return error_.ok() ? Cancelled("cancelled by the caller") : error_;
}

void WeightStream::Done(int step) {
  const std::lock_guard lock(mutex_);
  INGOT_CHECK(num_steps_done_ % plan_.num_steps == step);
  ++num_steps_done_;
  changed_.notify_all();
}

bool WeightStream::has_residents() const {
  const std::lock_guard lock(mutex_);
  return begins_with_residents_ || num_loads_done_ >= num_loads();
}

int64_t WeightStream::streamed_bytes() const {
  const std::lock_guard lock(mutex_);
  return streamed_bytes_;
}

void WeightStream::Read(std::stop_token stop) {
  for (int64_t run = 0; num_loads() > 0; ++run) {
    for (size_t i = 0; i < targets_.size(); ++i) {
      const bool is_read = !plan_.loads[i].resident || (run == 0 && !begins_with_residents_);
      if (!MayBegin(run, plan_.loads[i], stop)) return;
      Status status = is_read ? Load(i, stop) : Status();
      const std::lock_guard lock(mutex_);
      if (status.ok()) {
        ++num_loads_done_;
        if (is_read) streamed_bytes_ += targets_[i].entry->num_bytes;
      } else {
        error_ = std::move(status);
      }
      changed_.notify_all();
      if (!error_.ok()) return;
    }
  }
}

// False when the stop was requested first.
bool WeightStream::MayBegin(int64_t run, const TransferPlan::Load& load, std::stop_token stop) {
  const int64_t after = load.resident ? -1 : run * plan_.num_steps + load.start_after;
  std::unique_lock lock(mutex_);
  return changed_.wait(lock, stop, [&] {
    return (run < plan_.num_runs || run < num_runs_begun_) && num_steps_done_ > after;
  });
}

Status WeightStream::Load(size_t load, std::stop_token stop) {
  const TraceSpan span(trace_, trace_ != nullptr ? load_labels_[load] : 0, trace_row_);
  const Target& target = targets_[load];
  if (target.is_staged) return LoadStaged(target, stop);
  const TensorEntry& entry = *target.entry;
  std::byte* page = target.data - entry.offset % static_cast<uint64_t>(kPageBytes);
  const auto num_bytes = static_cast<size_t>(PagesBytes(entry.offset, entry.num_bytes));
  return file_.file().ReadPages(entry.offset, entry.num_bytes, {page, num_bytes}, stop);
}

Status WeightStream::LoadStaged(const Target& target, std::stop_token stop) {
  const TensorEntry& entry = *target.entry;
  const DTypeInfo& info = Info(entry.dtype);
  const int64_t piece_bytes =
      (kStagingBytes - 2 * kPageBytes) / info.block_bytes * info.block_bytes;
  for (int64_t done = 0; done < entry.num_bytes; done += piece_bytes) {
    const int64_t num_bytes = std::min(piece_bytes, entry.num_bytes - done);
    const uint64_t offset = entry.offset + static_cast<uint64_t>(done);
    const auto pages = staging_.first(static_cast<size_t>(PagesBytes(offset, num_bytes)));
    INGOT_RETURN_IF_ERROR(file_.file().ReadPages(offset, num_bytes, pages, stop));
    const std::byte* from = pages.data() + offset % static_cast<uint64_t>(kPageBytes);
    if (target.dtype != DType::kF32) {
      std::memcpy(target.data + done, from, static_cast<size_t>(num_bytes));
      continue;
    }
    const int64_t num_elements = num_bytes / info.block_bytes * info.block_elements;
    float* out =
        reinterpret_cast<float*>(target.data) + done / info.block_bytes * info.block_elements;
    DequantizeRow(entry.dtype, from, out, num_elements);
    if (entry.scale == 1.0f) continue;
    for (int64_t i = 0; i < num_elements; ++i) out[i] *= entry.scale;
  }
  return {};
}

}  // namespace ingot
