// Where Forge would put a job's pictures: FOLDER/YYYY-MM-DD/NNNNN-SEED.png.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "base/status.h"
#include "jobs/job_queue.h"

namespace ingot {

// Below the outputs folder and nowhere else: relative, without "..".
Status CheckOutputFolder(const std::string& folder);

// One a picture of the batch. The day is today's, numbers go on behind the highest in that folder
// (from 00000, as Forge's get_next_sequence_number counts) and are given once. A folder is looked
// through once a day and process: the queue counts on from there.
class PicturePaths {
 public:
  explicit PicturePaths(JobQueue& queue) : queue_(queue) {}

  Result<std::vector<std::filesystem::path>> Choose(const QueuedJob& job,
                                                    const std::filesystem::path& outputs);

 private:
  JobQueue& queue_;
  std::filesystem::path counted_;  // the last folder that was looked through
};

// kUnavailable names the folder that cannot be made.
Status MakeFolders(const std::vector<std::filesystem::path>& paths);

}  // namespace ingot
