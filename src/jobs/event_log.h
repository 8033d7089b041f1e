// What happened of late, in order: kept for those who come back, told to those who listen.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <list>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "jobs/job_service.h"

namespace ingot {

// All events of some jobs with a few hundred steps each. Previews are large: only the newest of a
// job is kept. Those of memory are many: five minutes of them are kept.
inline constexpr size_t kMaxEvents = 4096;
inline constexpr int64_t kMaxMemoryEvents = 600;

// Thread-safe. Sinks are called from one thread of the log: a slow one delays other sinks, one that
// throws loses that event; who adds never waits for either.
class EventLog {
 public:
  EventLog();
  ~EventLog();  // subscriptions must have gone
  EventLog(const EventLog&) = delete;
  EventLog& operator=(const EventLog&) = delete;

  void Add(std::string_view job_id, std::string_view type, Json data);
  // What Subscribe would tell of the past.
  std::vector<JobEvent> Past(std::string_view job_id, uint64_t last_event_id);
  std::unique_ptr<Subscription> Subscribe(std::string_view job_id, uint64_t last_event_id,
                                          EventSink sink);

 private:
  struct Listener {
    std::string job_id;  // empty: all
    uint64_t last_id = 0;
    EventSink sink;
  };
  class Ticket;

  void Run();
  void Leave(std::list<Listener>::iterator listener);
  // The next event for the listener, which it then has passed; null: none yet.
  std::shared_ptr<const JobEvent> Next(Listener& listener);

  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<std::shared_ptr<const JobEvent>> events_;  // ids rise
  std::list<Listener> listeners_;
  const Listener* called_ = nullptr;  // whose sink runs now
  uint64_t last_id_;
  bool ends_ = false;
  std::thread thread_;
};

}  // namespace ingot
