#include "memory/layout.h"

#include <algorithm>
#include <functional>
#include <limits>
#include <numeric>
#include <tuple>
#include <utility>

#include "devices/device.h"

namespace ingot {
namespace {

int NumSteps(const BufferLifetime& buffer) { return buffer.last_step - buffer.first_step + 1; }

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

struct Placed {
  int64_t begin, end;  // its bytes
  int first_step, last_step;
};

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
    const int first_step = buffers_[index].first_step, last_step = buffers_[index].last_step;
    for (const Placed& other : placed_) {
      const int shared_steps =
          std::min(last_step, other.last_step) - std::max(first_step, other.first_step) + 1;
      if (shared_steps > 0) neighbours_.push_back({other.begin, other.end, shared_steps});
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
    const Placed placed = {offset, offset + SizeOf(index), buffers_[index].first_step,
                           buffers_[index].last_step};
    layout_.offsets[index] = offset;
    layout_.arena_bytes = std::max(layout_.arena_bytes, placed.end);
    placed_.insert(std::ranges::upper_bound(placed_, offset, {}, &Placed::begin), placed);
  }

  std::span<const BufferLifetime> buffers_;
  const int64_t max_live_bytes_;
  ArenaLayout layout_;
  std::vector<Placed> placed_;  // by offset; all that FindNeighbours looks at, side by side
  std::vector<Neighbour> neighbours_;
  std::vector<Gap> gaps_;
};

}  // namespace

int64_t AlignedBytes(int64_t num_bytes) {
  return (num_bytes + kTensorAlignment - 1) / kTensorAlignment * kTensorAlignment;
}

ArenaLayout LayOutArena(std::span<const BufferLifetime> buffers) {
  constexpr int kNumTries = 16;
  ArenaLayout best;
  best.arena_bytes = std::numeric_limits<int64_t>::max();
  const auto is_tight = [&] {
    return best.arena_bytes <= best.max_live_bytes + best.max_live_bytes / 100;
  };
  // Places in the given order; then the buffer that stands out highest goes first, again and again.
  const auto try_order = [&](std::vector<size_t> order, const auto place) {
    for (int i = 0; i < kNumTries && !is_tight(); ++i) {
      Placement placement(buffers);
      for (size_t index : order) (placement.*place)(index);
      ArenaLayout layout = std::move(placement).layout();
      const auto end = [&](size_t k) { return layout.offsets[k] + buffers[k].num_bytes; };
      const auto highest = std::ranges::max_element(order, {}, end);
      if (highest != order.end()) std::rotate(order.begin(), highest, highest + 1);
      if (layout.arena_bytes < best.arena_bytes) best = std::move(layout);
    }
  };
  std::vector<size_t> by_size(buffers.size());
  std::iota(by_size.begin(), by_size.end(), size_t{0});
  std::ranges::stable_sort(by_size, std::greater(), [&](size_t i) { return buffers[i].num_bytes; });
  std::vector<size_t> by_life = by_size, by_area = by_size;  // of equals the larger first
  std::ranges::stable_sort(by_life, std::greater(), [&](size_t i) { return NumSteps(buffers[i]); });
  std::ranges::stable_sort(by_area, std::greater(),
                           [&](size_t i) { return buffers[i].num_bytes * NumSteps(buffers[i]); });
  std::vector<size_t> large_by_life = by_life;
  const int64_t large_bytes = MaxLiveBytes(buffers) / 16;
  std::ranges::stable_partition(large_by_life,
                                [&](size_t i) { return buffers[i].num_bytes > large_bytes; });
  for (const std::vector<size_t>* order : {&by_size, &by_life, &by_area, &large_by_life}) {
    try_order(*order, &Placement::PlaceLowest);
    try_order(*order, &Placement::PlaceSnugly);
  }
  return best;
}

}  // namespace ingot
