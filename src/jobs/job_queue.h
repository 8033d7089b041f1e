// Where accepted jobs wait, and what became of them: the one interface behind the service.
//
// Workers pull: Claim leases a job to a worker, Renew is its heartbeat, Finish and Requeue give it
// back. A queue hands out again what a dead worker held. Small enough for a broker of streams with
// consumer groups; nothing above knows which it is.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "jobs/job_row.h"

namespace ingot {

// A request holds its place in memory and on disk until it has run: 10 KiB or so with its plan.
// A thousand pictures are hours of work for one machine; a client that queues more waits for its
// own. Ten clients as busy take 100 MiB of disk.
inline constexpr int64_t kMaxQueuedPerClient = 1000;
inline constexpr int64_t kMaxQueued = 10000;

// A row, and what only the one who runs it needs.
struct QueuedJob {
  JobRow row;
  std::string idempotency_key;  // empty: none
  std::string output_folder;
  std::optional<int64_t> forge_inference_memory;
  // Of its pictures; chosen when it first runs, so that another run writes over its own.
  std::vector<std::filesystem::path> paths;
  std::optional<int64_t> memory_bytes;  // most it may take after a death; unset: what all may
};

// One name a picture, of numbers that follow each other.
struct PictureNames {
  std::string counter;  // each counts for itself
  int count = 1;
  int64_t at_least = 0;  // the first number
  std::function<std::filesystem::path(int64_t number, int picture)> path;
};

// How a run ended.
struct JobEnd {
  JobState state = JobState::kDone;  // an ended one
  Json plan;                         // null: stays
  Json record;                       // done
  std::string error, error_code;
  int num_deaths = 0;
};

// Thread-safe. Every change outlives the process when its call returns; what was accepted, and how
// it ended, the machine too. kUnavailable names the queue when it
// is locked, full, read-only or gone; nothing has changed then.
class JobQueue {
 public:
  virtual ~JobQueue() = default;

  // Gives it an id and its time; kQueued. A key that the client used gives the earlier row.
  // kUnavailable above the caps.
  virtual Result<JobRow> Add(const QueuedJob& job) = 0;
  virtual Result<std::optional<JobRow>> FindByKey(const std::string& client,
                                                  const std::string& key) = 0;

  // The next job, running and leased to `worker`; none: nothing waits. `loaded_model` is the file
  // the worker has in memory: of jobs of one priority a queue of many workers may prefer its own.
  virtual Result<std::optional<QueuedJob>> Claim(const std::string& worker,
                                                 const std::string& loaded_model) = 0;
  // The heartbeat. kNotFound when the lease is lost: the work is not wanted any more.
  virtual Status Renew(const std::string& id, const std::string& worker) = 0;
  // Names the job's pictures with numbers that nobody got before: QueuedJob::paths from now on.
  virtual Result<std::vector<std::filesystem::path>> NamePictures(const std::string& id,
                                                                  const PictureNames& names) = 0;
  // One transaction; kNotFound when the lease is lost.
  virtual Status Finish(const std::string& id, const std::string& worker, const JobEnd& end) = 0;
  // Back to its old place. `memory_bytes` as in QueuedJob.
  virtual Status Requeue(const std::string& id, const std::string& worker, int num_deaths,
                         std::optional<int64_t> memory_bytes) = 0;

  // A queued job to kCancelled; whether it was queued.
  virtual Result<bool> CancelQueued(std::string_view id) = 0;
  virtual Result<JobRow> Get(std::string_view id) = 0;  // kNotFound
  virtual Result<JobPage> List(const JobFilter& filter) = 0;
  virtual Result<int> Position(std::string_view id) = 0;
  virtual Result<int> CountQueued() = 0;
  // kInvalidArgument unless queued, or ended.
  virtual Status Move(std::string_view id, const JobMove& move) = 0;
  // Hides an ended job from all but Restore and Purge; its idempotency key is free again. The row.
  virtual Result<JobRow> Remove(std::string_view id) = 0;
  // Brings a removed job back; of one that is there nothing. kNotFound when it was purged.
  virtual Result<JobRow> Restore(std::string_view id) = 0;
  // Ends all rows that were removed before `time`, in seconds since the epoch: what they were.
  virtual Result<std::vector<JobRow>> Purge(double time) = 0;

  virtual Result<std::optional<Json>> Load(std::string_view name) = 0;
  virtual Status Store(std::string_view name, const Json& value) = 0;
};

}  // namespace ingot
