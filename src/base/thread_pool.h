// A fixed set of threads that run the items of one loop at a time.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <mutex>
#include <stop_token>
#include <thread>
#include <vector>

#include "base/trace.h"

namespace ingot {

// The caller is one of the threads: a pool of 1 starts none. Which thread runs
// which item is not fixed, so an item's result must depend on its index alone
// (promise P5).
class ThreadPool {
 public:
  explicit ThreadPool(size_t num_threads);
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  size_t num_threads() const { return threads_.size() + 1; }

  // Loops leave out the items that are left when `stop` is requested. Set between loops.
  void set_stop(std::stop_token stop) { stop_ = std::move(stop); }

  // Each loop is a span on the row of each thread that has a part in it; null: no more of them.
  // Set between loops.
  void set_trace(Trace* trace);

  // Runs body(item, thread_idx) for every item in [0, num_items) and returns
  // when all are done; thread_idx < num_threads() selects a scratch area.
  // Not reentrant: a body must not call ParallelFor of the same pool.
  void ParallelFor(size_t num_items,
                   const std::function<void(size_t item, size_t thread_idx)>& body);

 private:
  void Work(size_t thread_idx);
  bool RunItem(size_t thread_idx);  // false when none was left
  // Of that thread in the loop of that number, from its first item on.
  Trace::Span* SpanOf(size_t thread_idx, uint64_t loop);
  bool HasWork() const { return static_cast<uint32_t>(ticket_) != 0 || ends_; }

  // The number of the loop above, the number of its items that nobody has taken below: who takes
  // one by exchanging the whole knows that the loop is still the one it read, and that it cannot
  // end before this item is done. So body_ and num_items_ need no lock.
  std::atomic<uint64_t> ticket_ = 0;
  std::atomic<size_t> num_done_ = 0;
  const std::function<void(size_t, size_t)>* body_ = nullptr;
  size_t num_items_ = 0;
  std::stop_token stop_;

  struct alignas(64) Lane {  // of a thread
    Trace::Row row = Trace::kComputeRow;
    uint64_t loop = 0;  // of the span
    Trace::Span* span = nullptr;
  };
  Trace* trace_ = nullptr;
  std::vector<Lane> lanes_;
  Trace::Label loop_label_ = 0;

  // Threads that have found nothing to do for a while sleep.
  std::mutex mutex_;
  std::condition_variable wake_;
  std::condition_variable done_;
  std::atomic<size_t> num_sleeping_ = 0;
  std::atomic<bool> caller_sleeps_ = false;
  std::atomic<bool> ends_ = false;

  std::vector<std::thread> threads_;
};

}  // namespace ingot
