#include "server/log_writer.h"

#include <fmt/format.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <utility>

namespace ingot::server {
namespace {

using Clock = std::chrono::steady_clock;
constexpr int kLookMs = 100;  // how soon the end is seen while nobody reads
constexpr std::chrono::seconds kLastPatience{1};

}  // namespace

LogWriter::LogWriter(int descriptor, size_t max_bytes)
    : descriptor_(descriptor), max_bytes_(max_bytes), thread_([this] { Run(); }) {}

LogWriter::~LogWriter() {
  {
    const std::lock_guard lock(mutex_);
    ends_ = true;
  }
  changed_.notify_all();
  thread_.join();
}

void LogWriter::Write(std::string_view line) {
  {
    const std::lock_guard lock(mutex_);
    if (text_.size() + line.size() > max_bytes_) {
      ++num_dropped_;
      return;
    }
    if (num_dropped_ > 0) {
      text_ += fmt::format("{{\"level\":\"warning\",\"dropped_lines\":{}}}\n",
                           std::exchange(num_dropped_, 0));
    }
    text_.append(line).append("\n");
  }
  changed_.notify_one();
}

void LogWriter::Run() {
  // A reader that has gone is an error of write, and no end of the server.
  sigset_t pipe;
  sigemptyset(&pipe);
  sigaddset(&pipe, SIGPIPE);
  ::pthread_sigmask(SIG_BLOCK, &pipe, nullptr);
  while (true) {
    std::string text;
    {
      std::unique_lock lock(mutex_);
      changed_.wait(lock, [&] { return ends_ || !text_.empty(); });
      if (text_.empty()) return;
      text = std::exchange(text_, {});
    }
    if (!WriteAll(text)) return;
  }
}

bool LogWriter::WriteAll(std::string_view text) {
  Clock::time_point until = Clock::time_point::max();
  while (!text.empty()) {
    {
      const std::lock_guard lock(mutex_);
      if (ends_ && until == Clock::time_point::max()) until = Clock::now() + kLastPatience;
    }
    if (Clock::now() >= until) return false;
    pollfd wait = {.fd = descriptor_, .events = POLLOUT};
    if (::poll(&wait, 1, kLookMs) <= 0) continue;
    // A pipe that is ready takes so much without a wait.
    const ssize_t size = ::write(descriptor_, text.data(), std::min<size_t>(text.size(), PIPE_BUF));
    if (size < 0 && errno != EINTR && errno != EAGAIN) return true;  // nobody will ever read it
    if (size > 0) text.remove_prefix(static_cast<size_t>(size));
  }
  return true;
}

}  // namespace ingot::server
