// The refusal of a job that does not fit its budget: what lacks, and what would do.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <vector>

#include "base/status.h"
#include "memory/budget.h"

namespace ingot {

// What of a job decides its peak and can be asked for otherwise.
struct JobShape {
  int width = 0, height = 0;
  int batch = 1;
};

// One thing to change so that the job fits: the budget, or the shape.
struct JobChange {
  std::optional<int64_t> budget_bytes;  // what `--memory` or `--vram` would have to say
  std::optional<JobShape> shape;
};

// Peak in RAM of the smallest plan for a job of that shape; headers alone.
using SmallestPeak = std::function<Result<int64_t>(const JobShape&)>;

// kOutOfBudget for a job whose smallest plan takes `peak_bytes`, more than the
// budget: both, the shortfall in bytes, and the changes that fit, the cheapest
// first: one picture at a time, a budget, a size of the same proportions (its long
// side a multiple of 64); `changes` has them for programs. Asks for about ten plans; a fault in one
// of them is returned in its place.
Status RefuseJob(const JobShape& job, int64_t peak_bytes, const Budget& budget,
                 const SmallestPeak& smallest_peak, std::vector<JobChange>* changes = nullptr);

}  // namespace ingot
