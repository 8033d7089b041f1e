// One direction of the simulated link: a thread that copies in order at a given rate.
#pragma once

#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <mutex>
#include <span>
#include <stop_token>
#include <thread>
#include <vector>

#include "base/status.h"
#include "devices/sim/clock.h"

namespace ingot::sim {

// A copy of n bytes arrives latency_s + n / bytes_per_s after the later of its
// call and the end of the copy before it: bytes land piece by piece over that
// time, the last at its end, so that who reads too early finds old bytes.
class Link {
 public:
  struct Copy {
    std::span<const std::byte> from;
    std::span<std::byte> to;
    Status fault = {};  // not OK: nothing lands, this copy and all later ones end with it
  };

  Link(double bytes_per_s, double latency_s, Clock& clock);
  ~Link();  // copies under way stop where they are
  Link(const Link&) = delete;
  Link& operator=(const Link&) = delete;

  // The number of the copy, from 1.
  int64_t Begin(Copy copy);

  // kCancelled when `stop` is requested before the copy has arrived.
  Status Wait(int64_t copy, std::stop_token stop);

  // Every copy that has not arrived ends with `fault`.
  void Fail(Status fault);

 private:
  struct Queued {
    Copy copy;
    double called_s = 0;
  };
  void Work();
  // Seconds at which the copy has arrived.
  double Carry(const Queued& queued, double begin_s);

  const double bytes_per_s_;
  const double latency_s_;
  Clock& clock_;
  std::stop_source halt_;  // requested once: by the first fault or the end

  std::mutex mutex_;
  std::condition_variable_any changed_;
  // Guarded by mutex_.
  std::vector<Queued> queue_;  // as deep as a ring has slots: taken from its front
  int64_t num_begun_ = 0;
  int64_t num_arrived_ = 0;
  Status fault_;  // of copy num_arrived_ + 1 and all later ones

  std::thread thread_;  // last: it uses all of the above
};

}  // namespace ingot::sim
