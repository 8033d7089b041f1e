#include "memory/plan.h"

#include <algorithm>

namespace ingot {

int64_t Plan::peak_ram_bytes() const {
  int64_t largest_phase = 0;
  for (const PhasePlan& phase : phases) largest_phase = std::max(largest_phase, phase.peak_bytes());
  return fixed_bytes + largest_phase;
}

int64_t Plan::peak_vram_bytes() const {
  int64_t peak = 0;
  for (const PhasePlan& phase : phases) peak = std::max(peak, phase.vram_bytes);
  return peak > 0 ? fixed_vram_bytes + peak : 0;
}

std::optional<double> Plan::predicted_s() const {
  double seconds = 0;
  for (const PhasePlan& phase : phases) {
    if (!phase.predicted_s) return std::nullopt;
    seconds += *phase.predicted_s;
  }
  return seconds;
}

}  // namespace ingot
