#include "runtime/weight_stream.h"

#include <algorithm>
#include <array>
#include <cstring>

#include "base/check.h"
#include "base/stopwatch.h"
#include "tensor/codec.h"

namespace ingot {
namespace {

// Whole blocks of the entry as plain numbers.
void ConvertPiece(const TensorEntry& entry, const std::byte* from, int64_t num_bytes, float* out) {
  const DTypeInfo& info = Info(entry.dtype);
  const int64_t num_elements = num_bytes / info.block_bytes * info.block_elements;
  DequantizeRow(entry.dtype, from, out, num_elements);
  if (entry.scale == 1.0f) return;
  for (int64_t i = 0; i < num_elements; ++i) out[i] *= entry.scale;
}

// On its way to a device; in RAM the staging converts.
bool IsConverted(const TensorEntry& entry, DType dtype) {
  return dtype == DType::kF32 && (entry.dtype != DType::kF32 || entry.scale != 1.0f);
}

}  // namespace

WeightStream::WeightStream(const TensorFile& file, const TransferPlan& plan,
                           std::span<const Target> targets, std::span<std::byte> staging,
                           bool has_residents, CopyEngine* copies, Trace* trace)
    : file_(file),
      plan_(plan),
      targets_(targets),
      staging_(staging),
      begins_with_residents_(has_residents),
      copies_(copies),
      trace_(trace),
      num_ops_at_end_(static_cast<size_t>(plan.num_steps), 0) {
  INGOT_CHECK(targets.size() == plan.loads.size());
  INGOT_CHECK(static_cast<int64_t>(staging.size()) >= (copies ? kPinnedBytes : kStagingBytes));
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
  if (copies_ != nullptr) num_ops_at_end_[static_cast<size_t>(step)] = copies_->num_ops();
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
      const bool is_resident = plan_.loads[i].resident;
      const bool is_loaded = !is_resident || (run == 0 && !begins_with_residents_);
      const bool is_read = is_loaded && (run == 0 || targets_[i].held == nullptr);
      if (!MayBegin(run, plan_.loads[i], stop)) return;
      Status status = is_loaded ? Load(i, is_read, stop) : Status();
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
  const bool may_begin = changed_.wait(lock, stop, [&] {
    return (run < plan_.num_runs || run < num_runs_begun_) && num_steps_done_ > after;
  });
  ops_before_load_ = after < 0 ? 0 : num_ops_at_end_[static_cast<size_t>(after % plan_.num_steps)];
  return may_begin;
}

Status WeightStream::Load(size_t load, bool is_read, std::stop_token stop) {
  const TraceSpan span(trace_, trace_ != nullptr ? load_labels_[load] : 0, trace_row_);
  const Target& target = targets_[load];
  if (target.held != nullptr) {
    if (is_read) INGOT_RETURN_IF_ERROR(Hold(target, stop));
    return UploadHeld(target, stop);
  }
  if (copies_ != nullptr) return LoadByCopies(target, stop);
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
    float* out =
        reinterpret_cast<float*>(target.data) + done / info.block_bytes * info.block_elements;
    ConvertPiece(entry, from, num_bytes, out);
  }
  return {};
}

// One piece is read while the one before is on the link.
Status WeightStream::LoadByCopies(const Target& target, std::stop_token stop) {
  const TensorEntry& entry = *target.entry;
  const DTypeInfo& info = Info(entry.dtype);
  const bool is_converted = IsConverted(entry, target.dtype);
  int64_t num_blocks = (kStagingBytes - 2 * kPageBytes) / info.block_bytes;
  if (is_converted) {
    num_blocks = std::min(num_blocks, kConvertedBytes / 4 / int64_t{info.block_elements});
  }
  const int64_t piece_bytes = num_blocks * info.block_bytes;
  std::array<Event, 2> arrived = {};
  size_t slot = 0;
  for (int64_t done = 0; done < entry.num_bytes; done += piece_bytes, slot = 1 - slot) {
    INGOT_RETURN_IF_ERROR(copies_->Wait(arrived[slot], stop));
    const auto memory = staging_.subspan(slot * (kStagingBytes + kConvertedBytes));
    const int64_t num_bytes = std::min(piece_bytes, entry.num_bytes - done);
    const uint64_t offset = entry.offset + static_cast<uint64_t>(done);
    const auto pages = memory.first(static_cast<size_t>(PagesBytes(offset, num_bytes)));
    INGOT_RETURN_IF_ERROR(file_.file().ReadPages(offset, num_bytes, pages, stop));
    auto from = pages.subspan(offset % uint64_t{kPageBytes}, static_cast<size_t>(num_bytes));
    int64_t at = done;
    if (is_converted) {
      const auto converted = memory.subspan(kStagingBytes);
      ConvertPiece(entry, from.data(), num_bytes, reinterpret_cast<float*>(converted.data()));
      const int64_t elements_per_block = int64_t{info.block_elements} * 4;
      from =
          converted.first(static_cast<size_t>(num_bytes / info.block_bytes * elements_per_block));
      at = done / info.block_bytes * elements_per_block;
    }
    INGOT_ASSIGN_OR_RETURN(arrived[slot], copies_->UploadAfter(ops_before_load_, from,
                                                               {target.data + at, from.size()}));
  }
  INGOT_RETURN_IF_ERROR(copies_->Wait(arrived[slot], stop));
  return copies_->Wait(arrived[1 - slot], stop);
}

int64_t WeightStream::HeldBytes(const TensorEntry& entry, DType dtype) {
  return IsConverted(entry, dtype) ? PagesBytes(0, NumBytes(dtype, entry.shape))
                                   : PagesBytes(entry.offset, entry.num_bytes);
}

Status WeightStream::Hold(const Target& target, std::stop_token stop) {
  if (IsConverted(*target.entry, target.dtype)) {
    Target in_ram = target;
    in_ram.data = target.held;
    return LoadStaged(in_ram, stop);
  }
  const TensorEntry& entry = *target.entry;
  const auto num_bytes = static_cast<size_t>(PagesBytes(entry.offset, entry.num_bytes));
  return file_.file().ReadPages(entry.offset, entry.num_bytes, {target.held, num_bytes}, stop);
}

Status WeightStream::UploadHeld(const Target& target, std::stop_token stop) {
  const TensorEntry& entry = *target.entry;
  std::span<const std::byte> from = {target.held,
                                     static_cast<size_t>(NumBytes(target.dtype, entry.shape))};
  if (!IsConverted(entry, target.dtype)) {
    from = {target.held + entry.offset % uint64_t{kPageBytes},
            static_cast<size_t>(entry.num_bytes)};
  }
  INGOT_ASSIGN_OR_RETURN(const Event arrived,
                         copies_->UploadAfter(ops_before_load_, from, {target.data, from.size()}));
  return copies_->Wait(arrived, stop);
}

}  // namespace ingot
