// Ends what was removed, after a while in which it could be restored.
#pragma once

#include <condition_variable>
#include <filesystem>
#include <mutex>
#include <thread>

#include "jobs/job_queue.h"
#include "jobs/thumbnails.h"

namespace ingot {

// Rows that were removed `keep_s` seconds ago and their pictures, on a thread of its own; what was
// due while no server ran, at once. What the user has moved or deleted is not ours any more.
class RemovedJobs {
 public:
  RemovedJobs(JobQueue& queue, Thumbnails& thumbnails, double keep_s);
  ~RemovedJobs();
  RemovedJobs(const RemovedJobs&) = delete;
  RemovedJobs& operator=(const RemovedJobs&) = delete;

 private:
  void Run();

  JobQueue& queue_;
  Thumbnails& thumbnails_;
  const double keep_s_;
  std::mutex mutex_;
  std::condition_variable changed_;
  bool ends_ = false;
  std::thread thread_;
};

}  // namespace ingot
