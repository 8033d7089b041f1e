#include "memory/budget.h"

#include <algorithm>

#include "base/check.h"

namespace ingot {

Budget MakeBudget(const BudgetFlags& flags, const UsableMemory& usable_ram,
                  std::optional<int64_t> free_vram_bytes) {
  Budget budget{.ram_bytes = usable_ram.num_bytes, .ram_limited_by = usable_ram.limited_by};
  if (flags.memory_bytes) budget = {*flags.memory_bytes, "--memory"};
  budget.beside_bytes = flags.beside_bytes;
  budget.forge_inference_memory = flags.forge_inference_memory;
  if (free_vram_bytes) {
    budget.vram_bytes = std::min(flags.vram_bytes.value_or(*free_vram_bytes), *free_vram_bytes);
  }
  return budget;
}

Result<Budget> ReadBudget(const BudgetFlags& flags, std::optional<int64_t> free_vram_bytes) {
  if (flags.memory_bytes) return MakeBudget(flags, {}, free_vram_bytes);
  INGOT_ASSIGN_OR_RETURN(const UsableMemory usable, ReadUsableMemory());
  return MakeBudget(flags, usable, free_vram_bytes);
}

int64_t ReservedForCompute(std::optional<int64_t> forge_inference_memory, int64_t needed_bytes,
                           int64_t tier_bytes) {
  INGOT_CHECK(0 <= needed_bytes && needed_bytes <= tier_bytes);
  constexpr int64_t kMiB = 1 << 20;
  const int64_t hint_mib = std::clamp<int64_t>(forge_inference_memory.value_or(0), 0,
                                               tier_bytes / kMiB + 1);  // no overflow below
  return std::clamp(hint_mib * kMiB, needed_bytes, tier_bytes);
}

}  // namespace ingot
