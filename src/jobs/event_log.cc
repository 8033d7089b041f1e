#include "jobs/event_log.h"

#include <algorithm>
#include <chrono>
#include <utility>

namespace ingot {

class EventLog::Ticket final : public Subscription {
 public:
  Ticket(EventLog& log, std::list<Listener>::iterator listener) : log_(log), listener_(listener) {}
  ~Ticket() override { log_.Leave(listener_); }

 private:
  EventLog& log_;
  const std::list<Listener>::iterator listener_;
};

// A thousand ids a millisecond: no run reaches the first of the next, and all fit the 53 bits that
// JavaScript's numbers have.
EventLog::EventLog()
    : last_id_(static_cast<uint64_t>(std::chrono::duration_cast<std::chrono::milliseconds>(
                                         std::chrono::system_clock::now().time_since_epoch())
                                         .count()) *
               1000),
      thread_([this] { Run(); }) {}

EventLog::~EventLog() {
  {
    const std::lock_guard lock(mutex_);
    ends_ = true;
  }
  changed_.notify_all();
  thread_.join();
}

void EventLog::Add(std::string_view job_id, std::string_view type, Json data) {
  JobEvent event{.job_id = std::string(job_id), .type = std::string(type), .data = std::move(data)};
  {
    const std::lock_guard lock(mutex_);
    event.id = ++last_id_;
    if (type == "preview") {
      std::erase_if(events_, [&](const auto& other) {
        return other->type == "preview" && other->job_id == job_id;
      });
    }
    const auto is_memory = [](const auto& other) { return other->type == "memory"; };
    if (type == "memory" && std::ranges::count_if(events_, is_memory) >= kMaxMemoryEvents) {
      events_.erase(std::ranges::find_if(events_, is_memory));
    }
    events_.push_back(std::make_shared<const JobEvent>(std::move(event)));
    if (events_.size() > kMaxEvents) events_.pop_front();
  }
  changed_.notify_all();
}

std::vector<JobEvent> EventLog::Past(std::string_view job_id, uint64_t last_event_id) {
  Listener listener{.job_id = std::string(job_id), .last_id = last_event_id};
  std::vector<JobEvent> past;
  const std::lock_guard lock(mutex_);
  while (const auto event = Next(listener)) past.push_back(*event);
  return past;
}

std::unique_ptr<Subscription> EventLog::Subscribe(std::string_view job_id, uint64_t last_event_id,
                                                  EventSink sink) {
  const std::lock_guard lock(mutex_);
  listeners_.push_back(
      {.job_id = std::string(job_id), .last_id = last_event_id, .sink = std::move(sink)});
  changed_.notify_all();
  return std::make_unique<Ticket>(*this, std::prev(listeners_.end()));
}

void EventLog::Leave(std::list<Listener>::iterator listener) {
  std::unique_lock lock(mutex_);
  // A sink may end its own subscription; everybody else waits for it to return.
  if (std::this_thread::get_id() != thread_.get_id()) {
    changed_.wait(lock, [&] { return called_ != &*listener; });
  }
  if (called_ == &*listener) called_ = nullptr;
  listeners_.erase(listener);
}

std::shared_ptr<const JobEvent> EventLog::Next(Listener& listener) {
  auto at = std::ranges::upper_bound(events_, listener.last_id, {},
                                     [](const auto& event) { return event->id; });
  for (; at != events_.end(); ++at) {
    listener.last_id = (*at)->id;
    if (listener.job_id.empty() || (*at)->job_id == listener.job_id) return *at;
  }
  return nullptr;
}

void EventLog::Run() {
  std::unique_lock lock(mutex_);
  while (!ends_) {
    bool told = false;
    for (auto at = listeners_.begin(); at != listeners_.end() && !ends_;) {
      const std::shared_ptr<const JobEvent> event = Next(*at);
      if (event == nullptr) {
        ++at;
        continue;
      }
      told = true;
      called_ = &*at;
      const EventSink sink = at->sink;  // the listener may end inside
      lock.unlock();
      try {
        sink(*event);
      } catch (...) {  // the sink's own fault, and its own loss
      }
      lock.lock();
      const bool still_there = called_ != nullptr;
      called_ = nullptr;
      changed_.notify_all();
      if (!still_there) break;  // `at` has gone
    }
    if (!told && !ends_) changed_.wait(lock);
  }
}

}  // namespace ingot
