// Which way a phase is run, and how much of the budget its weights get.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "base/status.h"
#include "memory/transfers.h"

namespace ingot {

// One way to run a phase. Ways differ in speed and memory, never in a bit of the result.
struct PhaseWay {
  int64_t arena_bytes = 0;  // all but the block of weights
  std::span<const WeightUse> uses;
  int64_t num_runs = 1;

  int64_t least_bytes() const { return arena_bytes + LeastBytes(uses); }
  // With a double-buffered ring.
  int64_t good_bytes() const { return arena_bytes + DoubleBufferedBytes(uses); }
};

struct PhaseChoice {
  size_t way = 0;            // index in the ways
  int64_t weight_bytes = 0;  // for TransferRequest::num_bytes
};

// Of `ways`, fastest first, the first that fits `num_bytes` with a double-buffered ring; else, with
// reads that compute waits for, the first that fits at all. Weights that are read again get all
// that is left, up to the whole of them: what is resident is read once. Weights of a phase that
// runs once get a double-buffered ring and no more. kOutOfBudget when no way fits: `num_bytes` is
// short of the least of least_bytes().
Result<PhaseChoice> ChooseWay(std::span<const PhaseWay> ways, int64_t num_bytes);

}  // namespace ingot
