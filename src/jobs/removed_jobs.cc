#include "jobs/removed_jobs.h"

#include <algorithm>
#include <chrono>
#include <system_error>

#include "jobs/worker_protocol.h"

namespace ingot {
namespace {

double Now() {
  return std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count();
}

void RemovePictures(const JobRow& row) {
  if (!row.record.is_object()) return;
  std::error_code ignored;
  for (const Json& image : row.record.value("images", Json::array())) {
    std::filesystem::remove(TextOf(image, "path"), ignored);
  }
}

}  // namespace

RemovedJobs::RemovedJobs(JobQueue& queue, Thumbnails& thumbnails, double keep_s)
    : queue_(queue), thumbnails_(thumbnails), keep_s_(keep_s), thread_([this] { Run(); }) {}

RemovedJobs::~RemovedJobs() {
  {
    const std::lock_guard lock(mutex_);
    ends_ = true;
  }
  changed_.notify_all();
  thread_.join();
}

void RemovedJobs::Run() {
  // A minute late at most; a queue that cannot be written is asked again then.
  const std::chrono::duration<double> interval(std::min(keep_s_, 60.0));
  std::unique_lock lock(mutex_);
  while (!ends_) {
    lock.unlock();
    const Result<std::vector<JobRow>> ended = queue_.Purge(Now() - keep_s_);
    for (const JobRow& row : ended.ok() ? *ended : std::vector<JobRow>()) {
      RemovePictures(row);
      thumbnails_.Remove(row);
    }
    lock.lock();
    changed_.wait_for(lock, interval, [this] { return ends_; });
  }
}

}  // namespace ingot
