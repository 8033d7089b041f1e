// One network of a job: the ways to run it, and the one that fits the job's memory.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/status.h"
#include "memory/plan.h"
#include "runtime/program.h"

namespace ingot {

class Phase {
 public:
  // The way that is `first`, then those of `slower`, fastest first; all give the same bits. They
  // are compiled for `device`, which outlives this, when one before does not fit. Runs `num_runs`
  // times in a job.
  Phase(std::string name, Program first, std::vector<Program::Options> slower, const Device& device,
        int64_t num_runs);

  // The smallest of the ways with its smallest ring. Compiles all.
  int64_t least_bytes();

  // What a phase may take, beside what else stands in the same tier of memory; and the hint that
  // bounds its resident weights (memory/budget.h).
  struct Room {
    int64_t num_bytes = 0;
    int64_t beside_bytes = 0;
    std::optional<int64_t> forge_inference_memory;
  };

  // Chooses the way and places its weights (memory/planner.h); kOutOfBudget below least_bytes().
  Status FitTo(const Room& room);

  // Makes the weights of a phase that runs once resident where it has the room: read as often, but
  // there when the next job comes.
  Status KeepWeights(const Room& room);

  // On a device with memory of its own, of the chosen way: weights that are read again stay in RAM,
  // up to num_bytes.
  void HoldInRam(int64_t num_bytes) {
    if (num_runs_ > 1) ways_[way_].HoldInRam(num_bytes);
  }

  // Of the chosen way: what it takes where it computes; and whether less would do.
  int64_t num_bytes() const {
    return program().arena_bytes() + program().transfers().resident_bytes;
  }
  bool CanShrinkTo(int64_t num_bytes) const;

  // Forgets the other ways: their graphs take memory too.
  void Settle();

  // Whether all ways can still be had: a slower one that has settled is cut for good.
  bool CanFitAgain() const { return !is_cut_; }

  // In RAM, on a device with memory of its own, beside what is held there; of the way that takes
  // the least.
  int64_t host_bytes() const { return program().host_bytes(); }
  int64_t held_bytes() const { return program().transfers().held_bytes; }
  int64_t least_host_bytes() { return LeastWay().host_bytes(); }

  const std::string& name() const { return name_; }
  const Program& program() const { return ways_[way_]; }
  PhasePlan Plan(const DeviceRates* rates) const { return program().Plan(name_, rates); }

 private:
  bool CompileNext();  // false: there is none
  const Program& LeastWay();
  int64_t MostResidentBytes(const Room& room) const;  // of the chosen way

  std::string name_;
  std::vector<Program> ways_;             // so far
  std::vector<Program::Options> slower_;  // after the first; the rest is not yet compiled
  const Device* device_;
  int64_t num_runs_;
  size_t way_ = 0;
  bool is_cut_ = false;
};

}  // namespace ingot
