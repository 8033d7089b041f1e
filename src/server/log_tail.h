// The last lines of the server's log, for those who look at it from afar.
#pragma once

#include <cstddef>
#include <deque>
#include <mutex>
#include <string>
#include <vector>

namespace ingot::server {

// Thread-safe.
class LogTail {
 public:
  static constexpr size_t kMaxLines = 1000;  // of 300 bytes or so

  void Add(std::string line);
  // The last `count` lines, the oldest first.
  std::vector<std::string> Last(size_t count) const;

 private:
  mutable std::mutex mutex_;
  std::deque<std::string> lines_;
};

}  // namespace ingot::server
