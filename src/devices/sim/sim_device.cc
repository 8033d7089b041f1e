#include "devices/sim/sim_device.h"

#include <algorithm>
#include <utility>

namespace ingot {
namespace {

constexpr int kUp = 0, kDown = 1;  // the streams of events

sim::Clock& ClockOf(const SimOptions& options) {
  return options.clock != nullptr ? *options.clock : sim::SteadyClock();
}

// From the first to the last byte of a view, what lies between its runs included.
std::span<const std::byte> Extent(const ConstTensorView& view) {
  int64_t num_bytes = view.num_bytes();
  if (!view.is_contiguous() && num_bytes > 0) {
    const int64_t num_runs = view.shape.num_elements() / view.run_elements;
    num_bytes = NumBytes(view.dtype, Shape{(num_runs - 1) * view.run_stride + view.run_elements});
  }
  return {view.data, static_cast<size_t>(num_bytes)};
}

}  // namespace

// A block of the wrapped device's memory, known to its Blocks while it lives.
class SimDevice::BlockArena final : public Arena {
 public:
  BlockArena(std::unique_ptr<Arena> block, Blocks& blocks)
      : Arena(block->bytes()), block_(std::move(block)), blocks_(blocks) {
    blocks_.Add(bytes_);
  }
  ~BlockArena() override { blocks_.Remove(bytes_); }

 private:
  std::unique_ptr<Arena> block_;
  Blocks& blocks_;
};

void SimDevice::Blocks::Add(std::span<const std::byte> block) {
  if (block.empty()) return;
  const std::scoped_lock lock(mutex_);
  sizes_[block.data()] = block.size();
  num_bytes_ += static_cast<int64_t>(block.size());
  peak_bytes_ = std::max(peak_bytes_, num_bytes_);
}

void SimDevice::Blocks::Remove(std::span<const std::byte> block) {
  if (block.empty()) return;
  const std::scoped_lock lock(mutex_);
  sizes_.erase(block.data());
  num_bytes_ -= static_cast<int64_t>(block.size());
}

bool SimDevice::Blocks::Hold(std::span<const std::byte> bytes) const {
  if (bytes.empty()) return true;
  const std::scoped_lock lock(mutex_);
  auto block = sizes_.upper_bound(bytes.data());
  if (block == sizes_.begin()) return false;
  --block;
  return bytes.data() + bytes.size() <= block->first + block->second;
}

int64_t SimDevice::Blocks::num_bytes() const {
  const std::scoped_lock lock(mutex_);
  return num_bytes_;
}

int64_t SimDevice::Blocks::peak_bytes() const {
  const std::scoped_lock lock(mutex_);
  return peak_bytes_;
}

void SimDevice::Blocks::ResetPeak() {
  const std::scoped_lock lock(mutex_);
  peak_bytes_ = num_bytes_;
}

SimDevice::SimDevice(Device& compute, const SimOptions& options)
    : compute_(compute),
      options_(options),
      up_(options.link_bytes_per_s, options.copy_latency_s, ClockOf(options)),
      down_(options.link_bytes_per_s, options.copy_latency_s, ClockOf(options)) {}

Status SimDevice::CheckNotLost() const {
  if (!lost_) return {};
  return Unavailable("sim: expected a device that answers, found it lost at op {}",
                     options_.faults.lose_device_at_op);
}

Result<std::unique_ptr<Arena>> SimDevice::Allocate(int64_t num_bytes, std::stop_token stop) {
  INGOT_RETURN_IF_ERROR(CheckNotLost());
  if (++num_allocations_ == options_.faults.refuse_allocation) {
    return Unavailable("sim: expected allocation {} of {} bytes to succeed, found it refused",
                       options_.faults.refuse_allocation, num_bytes);
  }
  const int64_t in_use = vram_.num_bytes();
  if (num_bytes > options_.vram_bytes - in_use) {
    return Unavailable(
        "sim: device memory: expected at most {} bytes, found {} in use and {} more asked for",
        options_.vram_bytes, in_use, num_bytes);
  }
  INGOT_ASSIGN_OR_RETURN(std::unique_ptr<Arena> block, compute_.Allocate(num_bytes, stop));
  return std::unique_ptr<Arena>(std::make_unique<BlockArena>(std::move(block), vram_));
}

Status SimDevice::Run(const OpCall& call, std::stop_token stop) {
  if (++num_ops_ == options_.faults.lose_device_at_op) {
    lost_ = true;
    up_.Fail(CheckNotLost());
    down_.Fail(CheckNotLost());
  }
  INGOT_RETURN_IF_ERROR(CheckNotLost());
  for (const ConstTensorView& input : call.inputs) INGOT_CHECK(vram_.Hold(Extent(input)));
  INGOT_CHECK(vram_.Hold(Extent(call.output)));
  INGOT_CHECK(vram_.Hold(call.workspace));
  return compute_.Run(call, stop);
}

Result<std::unique_ptr<Arena>> SimDevice::AllocatePinned(int64_t num_bytes) {
  INGOT_RETURN_IF_ERROR(CheckNotLost());
  INGOT_ASSIGN_OR_RETURN(std::unique_ptr<Arena> block, compute_.Allocate(num_bytes));
  return std::unique_ptr<Arena>(std::make_unique<BlockArena>(std::move(block), pinned_));
}

Result<Event> SimDevice::UploadAfter(int64_t, std::span<const std::byte> host,
                                     std::span<std::byte> device) {
  INGOT_CHECK(pinned_.Hold(host) && vram_.Hold(device));
  return Begin(kUp, {host, device});
}

Result<Event> SimDevice::Download(std::span<const std::byte> device, std::span<std::byte> host) {
  INGOT_CHECK(vram_.Hold(device) && pinned_.Hold(host));
  return Begin(kDown, {device, host});
}

Result<Event> SimDevice::Begin(int stream, sim::Link::Copy copy) {
  INGOT_RETURN_IF_ERROR(CheckNotLost());
  if (const int64_t number = ++num_copies_; number == options_.faults.fail_copy) {
    copy.fault = Unavailable("sim: expected copy {} of {} bytes ({}) to arrive, found a link error",
                             number, copy.from.size(), stream == kUp ? "upload" : "download");
  }
  return Event{stream, (stream == kUp ? up_ : down_).Begin(std::move(copy))};
}

Status SimDevice::Wait(Event event, std::stop_token stop) {
  INGOT_RETURN_IF_ERROR(CheckNotLost());
  return (event.stream == kUp ? up_ : down_).Wait(event.copy, stop);
}

}  // namespace ingot
