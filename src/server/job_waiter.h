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
  using Task = std::function<void()>;

  explicit JobWaiter(JobService& jobs);
  ~JobWaiter();  // those who wait are not called

  // `done` runs once, on the waiter's thread, when the job has ended. The result says that nobody
  // listens any more: `done` then does not run, and a job that is still queued is dropped unless
  // somebody else waits for it. A running one goes on. It may be called after the waiter's end.
  Task Wait(const std::string& job_id, Done done);

  // Runs a task on the waiter's thread, after what is there already; drops it after the waiter's
  // end. Owns nothing of the waiter, so that a sink or a task may hold it.
  std::function<void(Task)> poster() const;

 private:
  struct Waiting {
    std::string job_id;
    Done done;
  };
  struct Tasks {
    std::mutex mutex;
    std::condition_variable changed;
    std::deque<Task> queue;
    bool ends = false;

    void Post(Task task);
  };
  static void Run(Tasks& tasks);
  void Finish(const std::string& job_id);
  void Drop(uint64_t wait_id);

  JobService& jobs_;
  std::mutex mutex_;
  std::map<uint64_t, Waiting> waiting_;
  uint64_t last_wait_id_ = 0;
  const std::shared_ptr<Tasks> tasks_ = std::make_shared<Tasks>();
  std::unique_ptr<Subscription> subscription_;
  std::thread thread_;
};

}  // namespace ingot::server
