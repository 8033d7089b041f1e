#include "engine/refusal.h"

#include <algorithm>
#include <cmath>
#include <optional>
#include <string>
#include <vector>

#include "base/byte_size.h"

namespace ingot {
namespace {

constexpr int kSizeStep = 64;

// `job` with its long side `long_side`, the other in proportion: a multiple of
// 8 from 64, as the job's own sides are.
JobShape Scaled(const JobShape& job, int long_side) {
  const double factor = static_cast<double>(long_side) / std::max(job.width, job.height);
  const auto side = [&](int pixels) {
    return std::max(64, static_cast<int>(std::lround(pixels * factor / 8)) * 8);
  };
  return {side(job.width), side(job.height), job.batch};
}

// The largest smaller size that fits; none if not even the smallest does.
Result<std::optional<JobShape>> FindSize(const JobShape& job, int64_t ram_bytes,
                                         const SmallestPeak& smallest_peak) {
  // Peaks grow with the size: bisect over the long side in steps.
  int fits = 0, too_large = (std::max(job.width, job.height) + kSizeStep - 1) / kSizeStep;
  while (too_large - fits > 1) {
    const int middle = (fits + too_large) / 2;
    INGOT_ASSIGN_OR_RETURN(const int64_t peak, smallest_peak(Scaled(job, middle * kSizeStep)));
    (peak <= ram_bytes ? fits : too_large) = middle;
  }
  if (fits == 0) return std::optional<JobShape>();
  return std::optional(Scaled(job, fits * kSizeStep));
}

Result<std::vector<JobChange>> FindChanges(const JobShape& job, const Budget& budget, int64_t peak,
                                           const SmallestPeak& smallest_peak) {
  std::vector<JobChange> changes;
  JobShape single = job;
  single.batch = 1;
  bool single_fits = false;
  if (job.batch > 1) {
    INGOT_ASSIGN_OR_RETURN(const int64_t single_peak, smallest_peak(single));
    single_fits = single_peak <= budget.ram_bytes;
    if (single_fits) changes.push_back({.shape = single});
  }
  changes.push_back({.budget_bytes = peak + budget.beside_bytes});
  INGOT_ASSIGN_OR_RETURN(std::optional<JobShape> size,
                         FindSize(job, budget.ram_bytes, smallest_peak));
  if (!size && job.batch > 1 && !single_fits) {
    INGOT_ASSIGN_OR_RETURN(size, FindSize(single, budget.ram_bytes, smallest_peak));
  }
  if (size) changes.push_back({.shape = size});
  return changes;
}

// As the user of the command line would give it.
std::string Words(const JobChange& change, const JobShape& job, const Budget& budget) {
  if (change.budget_bytes) {
    const int64_t mebibytes = (*change.budget_bytes + (1 << 20) - 1) >> 20;
    return budget.ram_limited_by.starts_with("--")
               ? fmt::format("{} {}MiB", budget.ram_limited_by, mebibytes)
               : fmt::format("{} MiB of {}", mebibytes, budget.ram_limited_by);
  }
  const JobShape& shape = *change.shape;
  std::vector<std::string> flags;
  if (shape.width != job.width || shape.height != job.height) {
    flags.push_back(fmt::format("--size {}x{}", shape.width, shape.height));
  }
  if (shape.batch != job.batch) flags.push_back(fmt::format("--batch {}", shape.batch));
  return fmt::format("{}", fmt::join(flags, " "));
}

}  // namespace

Status RefuseJob(const JobShape& job, int64_t peak_bytes, const Budget& budget,
                 const SmallestPeak& smallest_peak, std::vector<JobChange>* changes) {
  INGOT_CHECK(peak_bytes > budget.ram_bytes);
  INGOT_ASSIGN_OR_RETURN(const std::vector<JobChange> found,
                         FindChanges(job, budget, peak_bytes, smallest_peak));
  std::vector<std::string> words;
  for (const JobChange& change : found) words.push_back(Words(change, job, budget));
  if (changes != nullptr) *changes = found;
  return OutOfBudget(
      "memory: expected a plan of at most {} bytes ({}), found one of {}: {} bytes short; what "
      "would fit, the cheapest first: {}",
      budget.ram_bytes, budget.ram_limited_by, peak_bytes, peak_bytes - budget.ram_bytes,
      fmt::join(words, ", or "));
}

}  // namespace ingot
