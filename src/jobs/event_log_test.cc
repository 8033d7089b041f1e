#include "jobs/event_log.h"

#include <gtest/gtest.h>

#include <chrono>
#include <stdexcept>
#include <vector>

namespace ingot {
namespace {

// What a sink heard, and how to wait for it.
class Heard {
 public:
  EventSink sink() {
    return [this](const JobEvent& event) {
      const std::lock_guard lock(mutex_);
      events_.push_back(event);
      changed_.notify_all();
    };
  }
  std::vector<JobEvent> Wait(size_t count) {
    std::unique_lock lock(mutex_);
    EXPECT_TRUE(
        changed_.wait_for(lock, std::chrono::seconds(10), [&] { return events_.size() >= count; }));
    return events_;
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<JobEvent> events_;
};

TEST(EventLog, IdsRiseByOneAndBeginHigherWithEachStart) {
  uint64_t last = 0;
  {
    EventLog log;
    Heard heard;
    const auto subscription = log.Subscribe("", 0, heard.sink());
    log.Add("a", "queued", Json::object());
    log.Add("b", "queued", Json::object());
    const std::vector<JobEvent> events = heard.Wait(2);
    EXPECT_EQ(events[1].id, events[0].id + 1);
    EXPECT_LT(events[1].id, uint64_t{1} << 53);
    last = events[1].id;
  }
  // No server is started twice in the same millisecond.
  std::this_thread::sleep_for(std::chrono::milliseconds(2));
  EventLog log;
  Heard heard;
  const auto subscription = log.Subscribe("", 0, heard.sink());
  log.Add("a", "queued", Json::object());
  EXPECT_GT(heard.Wait(1)[0].id, last);
}

TEST(EventLog, WhoComesBackHearsWhatWasMissedOfItsJob) {
  EventLog log;
  Heard first;
  {
    const auto subscription = log.Subscribe("a", 0, first.sink());
    log.Add("a", "queued", Json::object());
    first.Wait(1);
  }
  log.Add("b", "started", Json::object());
  log.Add("a", "started", Json::object());
  Heard second;
  const auto subscription = log.Subscribe("a", first.Wait(1)[0].id, second.sink());
  log.Add("a", "done", Json::object());
  const std::vector<JobEvent> events = second.Wait(2);
  EXPECT_EQ(events.size(), 2u);
  EXPECT_EQ(events[0].type, "started");
  EXPECT_EQ(events[1].type, "done");
}

TEST(EventLog, OfPreviewsTheNewestOfEachJobIsKept) {
  EventLog log;
  for (int step = 1; step <= 3; ++step) {
    log.Add("a", "preview", {{"step", step}});
    log.Add("b", "preview", {{"step", step}});
  }
  log.Add("a", "done", Json::object());
  Heard heard;
  const auto subscription = log.Subscribe("a", 0, heard.sink());
  const std::vector<JobEvent> events = heard.Wait(2);
  ASSERT_EQ(events.size(), 2u);
  EXPECT_EQ(events[0].data["step"], 3);
}

TEST(EventLog, OfMemoryTheLastMinutesAreKeptAndPushNothingElseOut) {
  EventLog log;
  log.Add("a", "started", Json::object());
  for (int i = 0; i < 2 * static_cast<int>(kMaxEvents); ++i) log.Add("a", "memory", {{"i", i}});
  log.Add("a", "done", Json::object());
  Heard heard;
  const auto subscription = log.Subscribe("a", 0, heard.sink());
  const size_t num_kept = static_cast<size_t>(kMaxMemoryEvents) + 2;
  const std::vector<JobEvent> events = heard.Wait(num_kept);
  EXPECT_EQ(log.Past("a", 0).size(), num_kept);
  EXPECT_EQ(log.Past("a", events[num_kept - 2].id).size(), 1u);
  ASSERT_EQ(events.size(), num_kept);
  EXPECT_EQ(events[0].type, "started");
  EXPECT_EQ(events[num_kept - 2].data["i"], 2 * static_cast<int>(kMaxEvents) - 1);
}

TEST(EventLog, ASinkThatThrowsDisturbsNobody) {
  EventLog log;
  Heard heard;
  const auto bad =
      log.Subscribe("", 0, [](const JobEvent&) { throw std::runtime_error("of the sink"); });
  const auto good = log.Subscribe("", 0, heard.sink());
  for (int i = 0; i < 5; ++i) log.Add("a", "step", Json::object());
  EXPECT_EQ(heard.Wait(5).size(), 5u);
}

TEST(EventLog, ASlowSinkDoesNotHoldWhoAdds) {
  EventLog log;
  const auto slow = log.Subscribe(
      "", 0, [](const JobEvent&) { std::this_thread::sleep_for(std::chrono::milliseconds(50)); });
  const auto start = std::chrono::steady_clock::now();
  for (int i = 0; i < 1000; ++i) log.Add("a", "step", Json::object());
  EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(5));
}

TEST(EventLog, ASinkMayEndItsOwnSubscription) {
  EventLog log;
  std::mutex mutex;
  std::condition_variable changed;
  bool ended = false;
  std::unique_ptr<Subscription> own;
  {
    const std::lock_guard lock(mutex);
    own = log.Subscribe("", 0, [&](const JobEvent&) {
      const std::lock_guard lock(mutex);
      own.reset();
      ended = true;
      changed.notify_all();
    });
  }
  log.Add("a", "queued", Json::object());
  std::unique_lock lock(mutex);
  EXPECT_TRUE(changed.wait_for(lock, std::chrono::seconds(10), [&] { return ended; }));
}

}  // namespace
}  // namespace ingot
