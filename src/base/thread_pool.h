// A fixed set of threads that run the items of one loop at a time.
#pragma once

#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

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

  // Runs body(item, thread_idx) for every item in [0, num_items) and returns
  // when all are done; thread_idx < num_threads() selects a scratch area.
  // Not reentrant: a body must not call ParallelFor of the same pool.
  void ParallelFor(size_t num_items,
                   const std::function<void(size_t item, size_t thread_idx)>& body);

 private:
  void Work(size_t thread_idx);
  void RunItems(size_t thread_idx);

  std::mutex mutex_;
  std::condition_variable wake_;
  std::condition_variable done_;
  // Guarded by mutex_.
  const std::function<void(size_t, size_t)>* body_ = nullptr;
  size_t num_items_ = 0;
  size_t next_item_ = 0;
  size_t num_running_ = 0;  // workers inside the current loop
  uint64_t generation_ = 0;
  bool stop_ = false;

  std::vector<std::thread> threads_;
};

}  // namespace ingot
