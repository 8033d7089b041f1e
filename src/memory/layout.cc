#include "memory/layout.h"

#include <algorithm>
#include <numeric>

#include "devices/device.h"

namespace ingot {
namespace {

bool LiveTogether(const BufferLifetime& a, const BufferLifetime& b) {
  return a.first_step <= b.last_step && b.first_step <= a.last_step;
}

int64_t MaxLiveBytes(std::span<const BufferLifetime> buffers) {
  int last_step = 0;
  for (const BufferLifetime& buffer : buffers) last_step = std::max(last_step, buffer.last_step);
  std::vector<int64_t> change(static_cast<size_t>(last_step) + 2, 0);
  for (const BufferLifetime& buffer : buffers) {
    change[static_cast<size_t>(buffer.first_step)] += AlignedBytes(buffer.num_bytes);
    change[static_cast<size_t>(buffer.last_step) + 1] -= AlignedBytes(buffer.num_bytes);
  }
  int64_t live = 0, most = 0;
  for (int64_t delta : change) most = std::max(most, live += delta);
  return most;
}

}  // namespace

int64_t AlignedBytes(int64_t num_bytes) {
  return (num_bytes + kTensorAlignment - 1) / kTensorAlignment * kTensorAlignment;
}

ArenaLayout LayOutArena(std::span<const BufferLifetime> buffers) {
  std::vector<size_t> by_size(buffers.size());
  std::iota(by_size.begin(), by_size.end(), size_t{0});
  std::stable_sort(by_size.begin(), by_size.end(),
                   [&](size_t a, size_t b) { return buffers[a].num_bytes > buffers[b].num_bytes; });

  ArenaLayout layout;
  layout.offsets.resize(buffers.size());
  layout.max_live_bytes = MaxLiveBytes(buffers);
  std::vector<size_t> placed;  // sorted by offset
  for (size_t index : by_size) {
    const int64_t num_bytes = AlignedBytes(buffers[index].num_bytes);
    int64_t offset = 0;
    for (size_t other : placed) {
      if (!LiveTogether(buffers[index], buffers[other])) continue;
      if (layout.offsets[other] >= offset + num_bytes) break;
      offset = std::max(offset, layout.offsets[other] + AlignedBytes(buffers[other].num_bytes));
    }
    layout.offsets[index] = offset;
    layout.arena_bytes = std::max(layout.arena_bytes, offset + num_bytes);
    const auto at = std::upper_bound(placed.begin(), placed.end(), index, [&](size_t a, size_t b) {
      return layout.offsets[a] < layout.offsets[b];
    });
    placed.insert(at, index);
  }
  return layout;
}

}  // namespace ingot
