#include "memory/layout.h"

#include <algorithm>
#include <functional>
#include <limits>
#include <numeric>
#include <utility>

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

// Each at the lowest offset that is free during its whole life, in the given order.
ArenaLayout PlaceInOrder(std::span<const BufferLifetime> buffers, std::span<const size_t> order) {
  ArenaLayout layout;
  layout.offsets.resize(buffers.size());
  std::vector<size_t> placed;  // sorted by offset
  for (size_t index : order) {
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

}  // namespace

int64_t AlignedBytes(int64_t num_bytes) {
  return (num_bytes + kTensorAlignment - 1) / kTensorAlignment * kTensorAlignment;
}

ArenaLayout LayOutArena(std::span<const BufferLifetime> buffers) {
  constexpr int kNumTries = 16;
  const int64_t max_live_bytes = MaxLiveBytes(buffers);
  ArenaLayout best;
  best.arena_bytes = std::numeric_limits<int64_t>::max();
  const auto is_tight = [&] { return best.arena_bytes <= max_live_bytes + max_live_bytes / 100; };
  // Places in order of `key`; then the buffer that stands out highest goes first, again and again.
  const auto try_order = [&](const auto& key) {
    std::vector<size_t> order(buffers.size());
    std::iota(order.begin(), order.end(), size_t{0});
    std::ranges::stable_sort(order, std::greater(), key);
    for (int i = 0; i < kNumTries && !is_tight(); ++i) {
      ArenaLayout layout = PlaceInOrder(buffers, order);
      const auto end = [&](size_t k) { return layout.offsets[k] + buffers[k].num_bytes; };
      const auto highest = std::ranges::max_element(order, {}, end);
      if (highest != order.end()) std::rotate(order.begin(), highest, highest + 1);
      if (layout.arena_bytes < best.arena_bytes) best = std::move(layout);
    }
  };
  const auto steps = [](const BufferLifetime& b) {
    return int64_t{b.last_step} - b.first_step + 1;
  };
  try_order([&](size_t i) { return buffers[i].num_bytes; });
  try_order([&](size_t i) { return std::pair(steps(buffers[i]), buffers[i].num_bytes); });
  try_order([&](size_t i) { return buffers[i].num_bytes * steps(buffers[i]); });
  best.max_live_bytes = max_live_bytes;
  return best;
}

}  // namespace ingot
