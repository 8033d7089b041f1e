#include "server/log_writer.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <utility>

namespace ingot::server {
namespace {

using Clock = std::chrono::steady_clock;

class LogWriterTest : public testing::Test {
 protected:
  LogWriterTest() { EXPECT_EQ(::pipe(ends_.data()), 0); }
  ~LogWriterTest() override {
    if (ends_[0] >= 0) ::close(ends_[0]);
    ::close(ends_[1]);
  }
  // With `mark`; what comes behind it is kept for the next call.
  std::string ReadUntil(std::string_view mark) {
    std::array<char, 4096> buffer;
    size_t at = 0;
    while ((at = inbox_.find(mark)) == std::string::npos) {
      const ssize_t n = ::read(ends_[0], buffer.data(), buffer.size());
      if (n <= 0) return std::exchange(inbox_, {});
      inbox_.append(buffer.data(), static_cast<size_t>(n));
    }
    std::string text = inbox_.substr(0, at + mark.size());
    inbox_.erase(0, text.size());
    return text;
  }

  std::array<int, 2> ends_;
  std::string inbox_;
};

TEST_F(LogWriterTest, LinesComeWholeAndInOrder) {
  LogWriter log(ends_[1]);
  for (int i = 0; i < 1000; ++i) log.Write(std::to_string(i));
  const std::string text = ReadUntil("999\n");
  EXPECT_TRUE(text.starts_with("0\n1\n2\n"));
  EXPECT_EQ(std::count(text.begin(), text.end(), '\n'), 1000);
}

TEST_F(LogWriterTest, AReaderThatSleepsStopsNobody) {
  const std::string line(1000, 'x');
  const auto begin = Clock::now();
  LogWriter log(ends_[1], 100'000);
  for (int i = 0; i < 1000; ++i) log.Write(line);
  EXPECT_LT(Clock::now() - begin, std::chrono::seconds(1));
  // It wakes: what was kept comes, and before the next line that is kept how much was not; in parts
  // where the pipe took something meanwhile.
  std::atomic<bool> ends = false;
  std::thread more([&] {
    while (!ends) {
      log.Write("more");
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
  });
  const std::string text = ReadUntil("more\n");
  ends = true;
  more.join();
  size_t num_kept = 0, num_dropped = 0;
  const auto for_each = [&text](std::string_view mark, const auto& found) {
    for (size_t at = 0; (at = text.find(mark, at)) != std::string::npos; at += mark.size()) {
      found(at + mark.size());
    }
  };
  for_each(line, [&](size_t) { ++num_kept; });
  for_each("dropped_lines\":", [&](size_t at) { num_dropped += std::stoul(text.substr(at)); });
  EXPECT_GE(num_kept, 99u);
  EXPECT_GE(num_kept + num_dropped, 1000u);
}

TEST_F(LogWriterTest, AReaderThatHasGoneEndsNothing) {
  ::close(std::exchange(ends_[0], -1));
  LogWriter log(ends_[1]);
  for (int i = 0; i < 10; ++i) {
    log.Write("nobody");
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
}

TEST_F(LogWriterTest, TheEndDoesNotWaitForAReaderThatSleeps) {
  const auto begin = Clock::now();
  {
    LogWriter log(ends_[1]);
    for (int i = 0; i < 200; ++i) log.Write(std::string(1000, 'x'));
  }
  EXPECT_LT(Clock::now() - begin, std::chrono::seconds(5));
}

}  // namespace
}  // namespace ingot::server
