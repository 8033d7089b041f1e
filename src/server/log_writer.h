// Lines of the log on their way to a descriptor that may not take them.
#pragma once

#include <condition_variable>
#include <cstddef>
#include <mutex>
#include <string>
#include <string_view>
#include <thread>

namespace ingot::server {

// Write never waits for the reader of the log: a terminal that is stopped, or a pipe that nobody
// empties, would else stop the thread that moves all bytes. Lines beyond `max_bytes` are dropped,
// and their number is told when there is room again. Thread-safe.
class LogWriter {
 public:
  explicit LogWriter(int descriptor, size_t max_bytes = 1 << 20);
  // Waits for what is written to be taken, for a second at most.
  ~LogWriter();
  LogWriter(const LogWriter&) = delete;
  LogWriter& operator=(const LogWriter&) = delete;

  void Write(std::string_view line);  // without its end

 private:
  void Run();
  bool WriteAll(std::string_view text);  // false: given up

  const int descriptor_;
  const size_t max_bytes_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::string text_;
  size_t num_dropped_ = 0;
  bool ends_ = false;
  std::thread thread_;
};

}  // namespace ingot::server
