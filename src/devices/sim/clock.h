// The time by which the simulated link runs: the machine's, or a test's.
#pragma once

#include <stop_token>

namespace ingot::sim {

class Clock {
 public:
  virtual ~Clock() = default;
  virtual double Now() = 0;  // seconds, never falls
  // Returns at `time_s`, or when `stop` is requested.
  virtual void SleepUntil(double time_s, std::stop_token stop) = 0;
};

// Monotonic time of this machine.
Clock& SteadyClock();

}  // namespace ingot::sim
