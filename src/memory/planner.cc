#include "memory/planner.h"

#include <algorithm>

#include "base/check.h"

namespace ingot {

Result<PhaseChoice> ChooseWay(std::span<const PhaseWay> ways, int64_t num_bytes) {
  INGOT_CHECK(!ways.empty());
  for (size_t i = 0; i < ways.size(); ++i) {
    const int64_t left = num_bytes - ways[i].arena_bytes, good = DoubleBufferedBytes(ways[i].uses);
    if (good > left) continue;
    const int64_t all = AllResidentBytes(ways[i].uses);
    return PhaseChoice{i, ways[i].num_runs > 1 ? std::clamp(left, good, all) : good};
  }
  for (size_t i = 0; i < ways.size(); ++i) {
    if (ways[i].least_bytes() > num_bytes) continue;
    return PhaseChoice{
        i, std::min(num_bytes - ways[i].arena_bytes, DoubleBufferedBytes(ways[i].uses))};
  }
  const int64_t least = std::ranges::min(ways, {}, &PhaseWay::least_bytes).least_bytes();
  return OutOfBudget("expected at least {} bytes, found {}: {} bytes short", least, num_bytes,
                     least - num_bytes);
}

}  // namespace ingot
