#include "memory/layout.h"

#include <algorithm>
#include <functional>
<<<<<<< HEAD
#include <numeric>
#include <tuple>
=======
#include <limits>
#include <numeric>
>>>>>>> transfers
#include <utility>

#include "devices/device.h"

namespace ingot {
namespace {

int NumSteps(const BufferLifetime& buffer) { return buffer.last_step - buffer.first_step + 1; }

// Steps in which both are alive; 0 or less: none.
int SharedSteps(const BufferLifetime& a, const BufferLifetime& b) {
  return std::min(a.last_step, b.last_step) - std::max(a.first_step, b.first_step) + 1;
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

<<<<<<< HEAD
// A placed buffer that is alive together with the one that is looked at.
struct Neighbour {
  int64_t begin, end;  // its bytes
  int shared_steps;
};

// Free bytes beside the neighbours; the last gap ends with the arena.
struct Gap {
  int64_t begin, end;
};

// Buffers placed one by one in an arena.
class Placement {
 public:
  explicit Placement(std::span<const BufferLifetime> buffers)
      : buffers_(buffers), max_live_bytes_(MaxLiveBytes(buffers)) {
    layout_.offsets.resize(buffers.size());
    layout_.max_live_bytes = max_live_bytes_;
  }

  void PlaceLowest(size_t index) {
    FindNeighbours(index);
    Place(index, FindGaps(SizeOf(index)).front().begin);
  }

  // At the side of a gap where it touches, both sides counted, buffers or ends
  // of the arena for the most steps: what begins and dies together then lies
  // together, and leaves one large gap.
  void PlaceSnugly(size_t index) {
    FindNeighbours(index);
    const int64_t num_bytes = SizeOf(index);
    int64_t best = 0;
    int best_steps = -1;
    for (const Gap& gap : FindGaps(num_bytes)) {
      for (int64_t offset : {gap.begin, gap.end - num_bytes}) {
        const int steps = TouchedSteps(index, offset);
        if (steps > best_steps) std::tie(best, best_steps) = std::tuple(offset, steps);
      }
    }
    Place(index, best);
  }

  ArenaLayout layout() && { return std::move(layout_); }

 private:
  int64_t SizeOf(size_t index) const { return AlignedBytes(buffers_[index].num_bytes); }

  void FindNeighbours(size_t index) {
    neighbours_.clear();
    for (size_t other : placed_) {
      const int shared_steps = SharedSteps(buffers_[index], buffers_[other]);
      if (shared_steps <= 0) continue;
      const int64_t begin = layout_.offsets[other];
      neighbours_.push_back({begin, begin + SizeOf(other), shared_steps});
    }
  }

  // Gaps of `num_bytes` and more, the lowest first. Within the most live bytes
  // where that is possible: else one gap behind everything.
  const std::vector<Gap>& FindGaps(int64_t num_bytes) {
    gaps_.clear();
    int64_t end = 0;
    for (const Neighbour& neighbour : neighbours_) {
      if (neighbour.begin - end >= num_bytes) gaps_.push_back({end, neighbour.begin});
      end = std::max(end, neighbour.end);
    }
    if (max_live_bytes_ - end >= num_bytes) gaps_.push_back({end, max_live_bytes_});
    if (gaps_.empty()) gaps_.push_back({end, end + num_bytes});
    return gaps_;
  }

  int TouchedSteps(size_t index, int64_t offset) const {
    const int64_t end = offset + SizeOf(index);
    const int all = NumSteps(buffers_[index]);
    int below = offset == 0 ? all : 0, above = end == max_live_bytes_ ? all : 0;
    for (const Neighbour& neighbour : neighbours_) {
      if (neighbour.end == offset) below += neighbour.shared_steps;
      if (neighbour.begin == end) above += neighbour.shared_steps;
    }
    return std::min(below, all) + std::min(above, all);
  }

  void Place(size_t index, int64_t offset) {
    layout_.offsets[index] = offset;
    layout_.arena_bytes = std::max(layout_.arena_bytes, offset + SizeOf(index));
    const auto at = std::upper_bound(
        placed_.begin(), placed_.end(), index,
        [&](size_t a, size_t b) { return layout_.offsets[a] < layout_.offsets[b]; });
    placed_.insert(at, index);
  }

  std::span<const BufferLifetime> buffers_;
  const int64_t max_live_bytes_;
  ArenaLayout layout_;
  std::vector<size_t> placed_;  // by offset
  std::vector<Neighbour> neighbours_;
  std::vector<Gap> gaps_;
};

}  // namespace

int64_t AlignedBytes(int64_t num_bytes) {
  return (num_bytes + kTensorAlignment - 1) / kTensorAlignment * kTensorAlignment;
}

ArenaLayout LayOutArena(std::span<const BufferLifetime> buffers) {
  std::vector<size_t> order(buffers.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::ranges::stable_sort(order, std::greater(),
                           [&](size_t index) { return buffers[index].num_bytes; });
  Placement by_size(buffers);
  for (size_t index : order) by_size.PlaceLowest(index);

  // Of equal lives the larger one first: the order by size is kept.
  std::ranges::stable_sort(order, std::greater(),
                           [&](size_t index) { return NumSteps(buffers[index]); });
  Placement by_life(buffers);
  for (size_t index : order) by_life.PlaceSnugly(index);

  ArenaLayout a = std::move(by_size).layout(), b = std::move(by_life).layout();
  return a.arena_bytes <= b.arena_bytes ? a : b;
=======
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
>>>>>>> transfers
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
