// Small pictures of the history: made when they are first wanted, then kept on disk.
#pragma once

#include <cstdint>
#include <filesystem>
#include <mutex>
#include <string>

#include "base/status.h"
#include "jobs/job_row.h"

namespace ingot {

// Some 5,000 of the usual 256 pixels; when it is full the oldest quarter goes.
inline constexpr int64_t kMaxThumbnailBytes = 512 << 20;

// Thread-safe. Making one of 1024x1024 takes 30 ms of one core and the memory of its file.
class Thumbnails {
 public:
  explicit Thumbnails(std::filesystem::path folder, int64_t max_bytes = kMaxThumbnailBytes)
      : folder_(std::move(folder)), max_bytes_(max_bytes) {}

  // Picture `n` of an ended job as PNG without texts, no side above the next of 128, 256 and 512.
  // kNotFound when there is no such picture any more.
  Result<std::string> Get(const JobRow& row, size_t n, int side);
  // Of a job that is gone for good.
  void Remove(const JobRow& row);

 private:
  std::filesystem::path PathOf(const JobRow& row, size_t n, int side) const;
  void Keep(const std::filesystem::path& path, const std::string& png);
  void MakeRoom();

  const std::filesystem::path folder_;
  const int64_t max_bytes_;
  std::mutex mutex_;
  int64_t num_bytes_ = -1;  // in the folder; below 0: not counted yet
};

}  // namespace ingot
