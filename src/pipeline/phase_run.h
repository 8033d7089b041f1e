// A phase of a job while it runs: begun in what its device has free, and again in less.
#pragma once

#include <cstdint>
#include <memory>
#include <stop_token>

#include "base/status.h"
#include "devices/copy_engine.h"
#include "pipeline/phase.h"
#include "pipeline/record.h"
#include "runtime/execution.h"

namespace ingot {

// A plan is made for what a device with memory of its own had free at that time. Other programs use
// the device too: they cannot take what a job holds, but a phase may find less than it was planned
// with when it begins, and one that holds all there is leaves them nothing. Then the phase is
// fitted to less memory; no bit of the result changes. A device that computes in RAM is not shared
// so: its budget is a wall of the system, or the user's word.
class PhaseRun {
 public:
  struct Options {
    // Of weights, where the device computes; gives way to phases, as whole entries. Null: none.
    KeptMemory* kept = nullptr;
    bool keeps_weights = false;  // those of this phase come from `kept` and go there
    ExecutionOptions execution = {};
    FixedBytes fixed = {};     // of the device
    int64_t beside_bytes = 0;  // that other phases hold on the device meanwhile
    int64_t host_room = 0;     // in RAM, for a device with memory of its own
  };

  // Begins the way that was chosen for `phase`; on a device that has less than that takes, the
  // fastest one that there is memory for. Half of the reserve may be others' for that, and what is
  // left of it goes to a phase that has no other way. kUnavailable when there is none. Phase and
  // device outlive this.
  static Result<PhaseRun> Begin(Phase& phase, Device& device, const Options& options,
                                std::stop_token stop);

  Execution& operator*() const { return *execution_; }
  Execution* operator->() const { return execution_.get(); }

  // Between runs: where other programs have used up half of the reserve, what is kept goes; then
  // the phase begins again with fewer weights that stay, if it can.
  Status Yield(std::stop_token stop);

  // What its weights took, and how often it was fitted anew.
  void Measure(PhaseMeasure& measure) const;

 private:
  PhaseRun(Phase& phase, Device& device, const Options& options)
      : phase_(&phase), device_(&device), options_(options) {}
  // That the phase may take on the device, with what it has; and whether that is enough.
  int64_t Room() const;
  bool HasRoom() const;
  Status Start(std::stop_token stop);
  Status RefitTo(int64_t num_bytes);

  Phase* phase_;
  Device* device_;
  Options options_;
  std::unique_ptr<Execution> execution_;
  int num_refits_ = 0;
  int64_t earlier_streamed_bytes_ = 0;  // of the executions before
  double earlier_stalled_s_ = 0;
};

}  // namespace ingot
