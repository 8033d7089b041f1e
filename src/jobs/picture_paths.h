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
// (from 00000, as Forge's get_next_sequence_number counts) and are given once.
Result<std::vector<std::filesystem::path>> ChoosePicturePaths(JobQueue& queue,
                                                              const std::filesystem::path& folder,
                                                              const Json& job);

// kUnavailable names the folder that cannot be made.
Status MakeFolders(const std::vector<std::filesystem::path>& paths);

}  // namespace ingot
