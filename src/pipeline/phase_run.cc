#include "pipeline/phase_run.h"

#include <algorithm>

namespace ingot {

Result<PhaseRun> PhaseRun::Begin(Phase& phase, Device& device, const Options& options,
                                 std::stop_token stop) {
  PhaseRun run(phase, device, options);
  INGOT_RETURN_IF_ERROR(run.Start(stop));
  return run;
}

int64_t PhaseRun::Room() const {
  const bool takes_kept = options_.keeps_weights && execution_ == nullptr;
  const std::string takes = takes_kept ? phase_->program().ResidentsKey() : "";
  const int64_t kept = options_.kept != nullptr ? options_.kept->num_bytes_beside(takes) : 0;
  return device_->copy_engine()->AvailableBytes() - options_.fixed.device - options_.beside_bytes -
         kept;
}

bool PhaseRun::HasRoom() const {
  return phase_->num_bytes() <= Room() + device_->copy_engine()->reserve_bytes() / 2;
}

Status PhaseRun::Start(std::stop_token stop) {
  ExecutionOptions execution = options_.execution;
  if (options_.keeps_weights) execution.kept = options_.kept;
  const bool is_shared = device_->copy_engine() != nullptr;
  if (is_shared && !HasRoom()) {
    const int64_t all = Room() + device_->copy_engine()->reserve_bytes();
    INGOT_RETURN_IF_ERROR(RefitTo(std::max(Room(), std::min(phase_->least_bytes(), all))));
  }
  while (true) {
    Result<std::unique_ptr<Execution>> started =
        Execution::Start(phase_->program(), *device_, stop, execution);
    if (started.ok()) {
      execution_ = *std::move(started);
      return {};
    }
    // What is free is not always to be had in one piece, and others may have been faster.
    const bool is_refused = started.status().code() == StatusCode::kUnavailable;
    if (!is_shared || !is_refused || device_->is_lost()) return started.status();
    const int64_t least = phase_->least_bytes();
    if (least >= phase_->num_bytes()) return started.status();
    INGOT_RETURN_IF_ERROR(RefitTo(std::max(least, phase_->num_bytes() / 8 * 7)));
  }
}

Status PhaseRun::RefitTo(int64_t num_bytes) {
  const Status fit = phase_->FitTo({.num_bytes = num_bytes});
  if (fit.code() == StatusCode::kOutOfBudget) {
    return Unavailable("{}: device memory: expected at least {} bytes free, found {}",
                       phase_->name(), phase_->least_bytes(), std::max<int64_t>(num_bytes, 0));
  }
  INGOT_RETURN_IF_ERROR(fit);
  phase_->Settle();
  ++num_refits_;
  phase_->HoldInRam(options_.host_room - phase_->host_bytes());
  if (phase_->host_bytes() <= options_.host_room) return {};
  return Unavailable("{}: RAM beside less device memory: expected at most {} bytes, found {}",
                     phase_->name(), options_.host_room, phase_->host_bytes());
}

Status PhaseRun::Yield(std::stop_token stop) {
  if (device_->copy_engine() == nullptr) return {};
  if (HasRoom()) return {};
  if (options_.kept != nullptr) options_.kept->Forget();
  if (HasRoom() || !phase_->CanShrinkTo(Room())) return {};
  earlier_streamed_bytes_ += execution_->streamed_bytes();
  earlier_stalled_s_ += execution_->stalled_s();
  execution_.reset();
  if (options_.kept != nullptr) options_.kept->Forget();  // what it left there
  return Start(stop);
}

void PhaseRun::Measure(PhaseMeasure& measure) const {
  const double stalled_s = earlier_stalled_s_ + execution_->stalled_s();
  measure.load_s += stalled_s;
  measure.stalled_s += stalled_s;
  measure.streamed_bytes += earlier_streamed_bytes_ + execution_->streamed_bytes();
  measure.num_refits += num_refits_;
}

}  // namespace ingot
