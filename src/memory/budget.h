// What a job may hold in each tier of memory, and Forge's way of saying it.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "base/status.h"
#include "base/system_memory.h"

namespace ingot {

// What the user set; unset: the machine decides.
struct BudgetFlags {
  std::optional<int64_t> memory_bytes;  // --memory: the resident set of the process
  std::optional<int64_t> vram_bytes;    // --vram
  // What others hold beside memory_bytes under the number that the user set (the server of a
  // worker): counted where a larger number is named.
  int64_t beside_bytes = 0;
  // Of Forge's API, in MB: a hint that bounds resident weights (ReservedForCompute).
  std::optional<int64_t> forge_inference_memory;
};

// A wall, not a wish: a plan within it never takes more (promise P2).
struct Budget {
  int64_t ram_bytes = 0;       // the resident set of the process
  std::string ram_limited_by;  // "--memory", "available RAM", "memory limit of cgroup /a"
  int64_t vram_bytes = 0;      // 0: the device computes in RAM
  int64_t beside_bytes = 0;    // BudgetFlags
  std::optional<int64_t> forge_inference_memory;
  bool operator==(const Budget&) const = default;
};

// A flag is taken as it is; without one the tier is what the machine has free
// now. `free_vram_bytes` is the device's, unset where it computes in RAM.
Budget MakeBudget(const BudgetFlags& flags, const UsableMemory& usable_ram,
                  std::optional<int64_t> free_vram_bytes);

// MakeBudget of this machine at this moment: read anew for every job. The machine
// is not asked where --memory says it.
Result<Budget> ReadBudget(const BudgetFlags& flags, std::optional<int64_t> free_vram_bytes);

// Forge's `forge_inference_memory` is the number of MB (2^20 bytes) of the compute
// tier kept free of weights ("GPU Weights" of its page is the tier less this).
// There a wrong number ends in "out of memory"; here it is a hint. Gives the
// bytes that weights leave free in a tier of `tier_bytes`, for a job whose
// activations, rings and workspaces take `needed_bytes` <= tier_bytes: at least
// what the job needs, which is also the answer without a hint, at most the tier.
int64_t ReservedForCompute(std::optional<int64_t> forge_inference_memory, int64_t needed_bytes,
                           int64_t tier_bytes);

}  // namespace ingot
