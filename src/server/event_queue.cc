#include "server/event_queue.h"

#include <algorithm>
#include <utility>

namespace ingot::server {
namespace {

// One event as text/event-stream has it.
std::string EventText(std::string_view id, std::string_view event, std::string_view data) {
  std::string text;
  const auto add = [&](std::string_view name, std::string_view value) {
    text.append(name).append(": ").append(value).append("\n");
  };
  const auto one_line = [](std::string_view value) {
    return value.substr(0, value.find_first_of("\r\n"));
  };
  if (!id.empty()) add("id", one_line(id));
  if (!event.empty()) add("event", one_line(event));
  for (size_t begin = 0; begin <= data.size();) {
    const size_t end = std::min(data.find('\n', begin), data.size());
    std::string_view line = data.substr(begin, end - begin);
    if (line.ends_with('\r')) line.remove_suffix(1);
    add("data", line);
    begin = end + 1;
  }
  text += "\n";
  return text;
}

}  // namespace

void EventQueue::Send(std::string_view id, std::string_view event, std::string_view data) {
  Push(EventText(id, event, data), false);
}

void EventQueue::Close() { Push({}, true); }

void EventQueue::Ping() { Push(": ping\n\n", false); }

void EventQueue::Push(std::string_view text, bool closes) {
  {
    const std::lock_guard lock(mutex_);
    if (is_closed_ || is_full_) return;
    const size_t waiting = text_.size() + unwritten_bytes_;
    is_full_ = waiting > 0 && waiting + text.size() > max_bytes_;
    is_closed_ = closes;
    if (is_full_) {
      text_ = {};
    } else {
      text_ += text;
    }
    if (std::exchange(is_awake_, true)) return;
  }
  wake_();
}

EventQueue::Taken EventQueue::Take() {
  const std::lock_guard lock(mutex_);
  is_awake_ = false;
  return {.text = std::exchange(text_, {}), .is_closed = is_closed_, .is_full = is_full_};
}

void EventQueue::SetUnwritten(size_t bytes) {
  const std::lock_guard lock(mutex_);
  unwritten_bytes_ = bytes;
}

void EventQueue::Abandon() {
  const std::lock_guard lock(mutex_);
  is_closed_ = true;
  text_ = {};
}

}  // namespace ingot::server
