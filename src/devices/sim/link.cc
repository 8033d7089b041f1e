#include "devices/sim/link.h"

#include <algorithm>
#include <cstring>
#include <utility>

namespace ingot::sim {

Link::Link(double bytes_per_s, double latency_s, Clock& clock)
    : bytes_per_s_(bytes_per_s), latency_s_(latency_s), clock_(clock) {
  INGOT_CHECK(bytes_per_s > 0 && latency_s >= 0);
  queue_.reserve(64);  // no allocation while a job runs
  thread_ = std::thread([this] { Work(); });
}

Link::~Link() {
  halt_.request_stop();
  thread_.join();
}

int64_t Link::Begin(Copy copy) {
  INGOT_CHECK(copy.from.size() == copy.to.size());
  const std::scoped_lock lock(mutex_);
  queue_.push_back({std::move(copy), clock_.Now()});
  changed_.notify_all();
  return ++num_begun_;
}

Status Link::Wait(int64_t copy, std::stop_token stop) {
  std::unique_lock lock(mutex_);
  INGOT_CHECK(copy <= num_begun_);
  const bool ended =
      changed_.wait(lock, stop, [&] { return copy <= num_arrived_ || !fault_.ok(); });
  if (copy <= num_arrived_) return {};
  return ended ? fault_ : Cancelled("cancelled by the caller");
}

void Link::Fail(Status fault) {
  const std::scoped_lock lock(mutex_);
  if (fault_.ok()) fault_ = std::move(fault);
  halt_.request_stop();
  changed_.notify_all();
}

void Link::Work() {
  double free_s = 0;  // by the link's own time: a thread that wakes late does not slow it
  std::unique_lock lock(mutex_);
  while (changed_.wait(lock, halt_.get_token(), [&] { return !queue_.empty(); })) {
    if (halt_.stop_requested()) return;
    const Queued queued = std::move(queue_.front());
    queue_.erase(queue_.begin());
    lock.unlock();
    free_s = Carry(queued, std::max(free_s, queued.called_s));
    lock.lock();
    if (halt_.stop_requested()) return;
    if (!queued.copy.fault.ok()) {
      fault_ = queued.copy.fault;
      halt_.request_stop();
    } else {
      ++num_arrived_;
    }
    changed_.notify_all();
  }
}

double Link::Carry(const Queued& queued, double begin_s) {
  constexpr size_t kPieceBytes = 1 << 20;
  const Copy& copy = queued.copy;
  size_t num_landed = 0;
  double due_s = 0;
  do {
    const size_t piece = std::min(kPieceBytes, copy.from.size() - num_landed);
    due_s = begin_s + latency_s_ + static_cast<double>(num_landed + piece) / bytes_per_s_;
    clock_.SleepUntil(due_s, halt_.get_token());
    if (halt_.stop_requested()) return due_s;
    if (copy.fault.ok() && piece > 0) {
      std::memcpy(copy.to.data() + num_landed, copy.from.data() + num_landed, piece);
    }
    num_landed += piece;
  } while (num_landed < copy.from.size());
  return due_s;
}

}  // namespace ingot::sim
