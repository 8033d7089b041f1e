#include "runtime/host_spill.h"

namespace ingot {

Spill::Ticket HostSpill::Note(const Result<Event>& event) {
  Event& slot = events_[num_begun_ % kMaxQueued];
  const Status passed = Wait(num_begun_);  // whose slot it was, if it still is on its way
  if (error_.ok()) error_ = event.ok() ? passed : event.status();
  if (event.ok()) slot = *event;
  return num_begun_++;
}

Status HostSpill::Wait(Ticket ticket) {
  if (error_.ok()) error_ = copies_.Wait(events_[ticket % kMaxQueued], {});
  return error_;
}

}  // namespace ingot
