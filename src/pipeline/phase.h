// One network of a job: the ways to run it, and the one that fits the job's memory.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/status.h"
#include "memory/plan.h"
#include "runtime/program.h"

namespace ingot {

class Phase {
 public:
  // Fastest way first; all give the same bits. Runs `num_runs` times in a job.
  Phase(std::string name, std::vector<Program> ways, int64_t num_runs);

  // The smallest of the ways with its smallest ring.
  int64_t least_bytes() const;

  // Chooses the way and places its weights (memory/planner.h); kOutOfBudget below least_bytes().
  Status FitTo(int64_t num_bytes);

  // Makes the weights of a phase that runs once resident where it then takes no more than
  // `num_bytes`: read as often, but there when the next job comes.
  Status KeepWeights(int64_t num_bytes);

  // Forgets the other ways: their graphs take memory too.
  void Settle();

  const Program& program() const { return ways_[way_]; }
  PhasePlan Plan() const;

 private:
  std::string name_;
  std::vector<Program> ways_;
  int64_t num_runs_;
  size_t way_ = 0;
};

}  // namespace ingot
