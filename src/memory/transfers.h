// Which weights stay in memory and how the others stream through a ring: a static schedule.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "base/file.h"
#include "base/status.h"
#include "devices/device.h"
#include "memory/cost.h"

namespace ingot {

// One weight of a run; steps are the indices of the run's ops.
struct WeightUse {
  int64_t num_bytes = 0;                 // as placed in memory
  int64_t alignment = kTensorAlignment;  // of its place; at most kPageBytes
  int64_t file_bytes = 0;                // that a load reads
  int first_step = 0;
  int last_step = 0;
  int64_t held_bytes = 0;  // that it takes in RAM, where it is held there
};

// Steps [0, num_steps) are run num_runs times, with num_bytes of memory for weights.
struct TransferRequest {
  std::span<const WeightUse> uses;  // first_step never falls
  int num_steps = 0;
  int64_t num_runs = 1;
  int64_t num_bytes = 0;
  // Where all fit, all are resident, even of one run: for the next job (runtime/kept_memory.h).
  bool keep = false;
};

// The weights that a step is the first to use are loaded into one slab, so that a small weight
// costs its bytes and no slot. A slab is resident, or stands at the same place of the ring in every
// run: addresses are constants.
struct TransferPlan {
  struct Load {
    bool resident = false;  // read in the first run only
    int64_t offset = 0;     // in the block of residents, or in the ring
    // The load may begin when this step has ended: a step of the same run, or (negative) of the run
    // before, step + num_steps. It always is before the first step that needs the load, so that a
    // reader that takes loads in their order never waits for itself.
    int start_after = 0;
    // In the block of RAM from which it comes in all runs after the first; -1: from the file.
    int64_t held_offset = -1;
  };
  std::vector<Load> loads;            // one a weight, in the order of `uses`
  std::vector<int> num_loads_before;  // [step]: so many of `loads` are there when it begins
  int num_steps = 0;
  int64_t num_runs = 1;  // how far the reader may run ahead
  int64_t resident_bytes = 0;
  int64_t ring_bytes = 0;
  int64_t held_bytes = 0;  // HoldInRam

  int64_t num_bytes() const { return resident_bytes + ring_bytes; }
};

// Fewest bytes with which every step can have its weights, layout included: the smallest request
// that PlanTransfers takes.
int64_t LeastBytes(std::span<const WeightUse> uses);

// Bytes of a ring in which the next weights are read while the present ones are used: twice the
// least, or all.
int64_t DoubleBufferedBytes(std::span<const WeightUse> uses);

// Bytes of all weights resident.
int64_t AllResidentBytes(std::span<const WeightUse> uses);

// The ring is double-buffered where the memory allows. What is left holds a constant resident set,
// where the run repeats: a resident weight is read once. (Never LRU: on a cyclic scan it has no
// hits.) The set is spread evenly over the run, so that the link has the same work everywhere:
// resident at one end, it would idle there behind a full ring. kOutOfBudget names LeastBytes.
Result<TransferPlan> PlanTransfers(const TransferRequest& request);

// On a device with memory of its own: what it has no memory for comes from RAM in all runs after
// the first, as far as num_bytes goes, evenly over the run: disk and link then work side by side.
void HoldInRam(std::span<const WeightUse> uses, int64_t num_bytes, TransferPlan& plan);

struct TransferTimes {
  double seconds = 0;    // of all runs, the schedule followed exactly
  double stalled_s = 0;  // of them steps that wait for weights
  // When nothing waits but the first step: max(compute, link) + the read of its weights.
  double stall_free_s = 0;
};

// step_s: seconds of each step when its weights are there. `held`: of what is held in RAM.
TransferTimes PredictTransfers(const TransferPlan& plan, std::span<const WeightUse> uses,
                               std::span<const double> step_s, const LinkRates& link,
                               const LinkRates& held = {});

}  // namespace ingot
