// Answers that wait for the end of a job: one thread for all of them.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <thread>

#include "jobs/job_service.h"

namespace ingot::server {

// "done", "failed", "cancelled", "quarantined".
bool EndsJob(std::string_view event);

// Thread-safe.
class JobWaiter {
 public:
  using Done = std::function<void(const Result<JobRow>&)>;

  explicit JobWaiter(JobService& jobs);
  ~JobWaiter();  // those who wait are not called

  // `done` runs once, on the waiter's thread, when the job has ended.
  uint64_t Wait(const std::string& job_id, Done done);
  // Nobody listens to this wait any more: its `done` does not run, and a job that is still queued
  // is dropped unless somebody else waits for it. A running one goes on.
  void Leave(uint64_t wait_id);

  // Runs `task` on the waiter's thread, after what is there already.
  void Post(std::function<void()> task);

 private:
  struct Waiting {
    std::string job_id;
    Done done;
  };
  void Run();
  void Finish(const std::string& job_id);
  void Drop(uint64_t wait_id);

  JobService& jobs_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<std::function<void()>> tasks_;
  std::map<uint64_t, Waiting> waiting_;
  uint64_t last_wait_id_ = 0;
  bool ends_ = false;
  std::unique_ptr<Subscription> subscription_;
  std::thread thread_;
};

}  // namespace ingot::server
