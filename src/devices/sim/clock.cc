#include "devices/sim/clock.h"

#include <chrono>
#include <condition_variable>
#include <mutex>

#include "base/stopwatch.h"

namespace ingot::sim {
namespace {

class MachineClock final : public Clock {
 public:
  double Now() override { return watch_.seconds(); }

  void SleepUntil(double time_s, std::stop_token stop) override {
    std::unique_lock lock(mutex_);
    never_.wait_for(lock, stop, std::chrono::duration<double>(time_s - Now()),
                    [] { return false; });
  }

 private:
  const Stopwatch watch_;
  std::mutex mutex_;
  std::condition_variable_any never_;  // a member: making one allocates
};

}  // namespace

Clock& SteadyClock() {
  static MachineClock clock;
  return clock;
}

}  // namespace ingot::sim
