// Server-sent events on their way from any thread to the I/O thread of one client.
#pragma once

#include <functional>
#include <mutex>
#include <string>
#include <string_view>

#include "server/http.h"

namespace ingot::server {

// Thread-safe. Holds at most `max_bytes` that the client has not taken, and one event above that
// if nothing else waits: a preview of a large picture.
class EventQueue : public EventStream {
 public:
  // `wake` is called, from any thread, when there is something to take: once until Take.
  EventQueue(size_t max_bytes, std::function<void()> wake)
      : max_bytes_(max_bytes), wake_(std::move(wake)) {}

  void Send(std::string_view id, std::string_view event, std::string_view data) override;
  void Close() override;
  // A line that is no event, so that nobody between takes the stream for dead.
  void Ping();

  struct Taken {
    std::string text;        // all that waited, as text/event-stream
    bool is_closed = false;  // nothing comes after it
    bool is_full = false;    // the client is too slow: events were dropped
  };
  Taken Take();
  // Bytes that were taken and are not written yet: they count as waiting.
  void SetUnwritten(size_t bytes);
  // The client has gone: what is sent from now on is dropped.
  void Abandon();

 private:
  void Push(std::string_view text, bool closes);

  const size_t max_bytes_;
  const std::function<void()> wake_;
  std::mutex mutex_;
  std::string text_;
  size_t unwritten_bytes_ = 0;
  bool is_awake_ = false, is_closed_ = false, is_full_ = false;
};

}  // namespace ingot::server
