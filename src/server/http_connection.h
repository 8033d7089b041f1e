// One client: its requests one after the other, their answers, or a stream of events.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "server/event_queue.h"
#include "server/http_core.h"
#include "server/http_request_reader.h"
#include "server/http_transport.h"

namespace ingot::server {

// All of it runs on the I/O thread. What it waits for holds it; it ends by itself, by its client,
// by a deadline, or by Close.
//
//   handshake ─▶ head ─▶ body ─▶ handling ─▶ writing ─▶ head …
//                                    │          └─▶ draining ─▶ closed
//                                    └─▶ streaming ─▶ draining
class HttpConnection : public std::enable_shared_from_this<HttpConnection> {
 public:
  HttpConnection(std::shared_ptr<HttpCore> core, boost::asio::ip::tcp::socket socket);
  HttpConnection(const HttpConnection&) = delete;
  HttpConnection& operator=(const HttpConnection&) = delete;

  void Start();
  // Before anything is read: there are too many connections.
  void Refuse();
  void Ping();
  // The server stops: idle connections and streams end now, the others after their answer.
  void BeginStop();
  void Close();

 private:
  using Clock = std::chrono::steady_clock;
  using ErrorCode = boost::system::error_code;
  class AnswerOnce;  // the handler's side of one request

  enum class State : uint8_t {
    kHandshake,
    kHead,
    kBody,
    kHandling,
    kWriting,
    kStreaming,
    kDraining,
    kClosed
  };

  void NextRequest();
  void Advance();
  void ReadMore();
  void OnRead(ErrorCode error, size_t size);
  void OnFault();
  void OnHead();
  // Whether the request may go on: known host, credentials, origin.
  std::optional<Response> FindRefusal();
  void BeginBody(const RequestHead& head);
  void SendContinue();
  void ReleaseBody();
  void OnMessage();

  // Of the request `number`; a second answer, or one that comes late, is dropped.
  void Answer(uint64_t number, Response response);
  void BeginStream(uint64_t number, Headers headers, std::shared_ptr<EventQueue> events,
                   std::function<void()> on_close);
  void SetOnDisconnect(uint64_t number, std::function<void()> callback);

  // An answer before the body was read: the connection ends with it.
  void Reject(Response response);
  void Write(Response response);
  void OnWritten(ErrorCode error);
  void Drain();
  std::shared_ptr<EventQueue> NewEventQueue();
  void PumpStream();
  void FinishStream();
  void RunOnPool(std::function<void()> callback);
  std::string Head(const Response& response, bool is_stream) const;
  void Observe(int status, size_t bytes_out, std::string job_id);

  void SetDeadline(Clock::duration after);
  void ClearDeadline();
  void OnDeadline();
  Clock::duration TransferTime(size_t bytes) const;

  // First, so that the socket goes before the io_context it belongs to.
  const std::shared_ptr<HttpCore> core_;
  std::unique_ptr<Transport> transport_;
  boost::asio::steady_timer timer_;
  uint64_t deadline_number_ = 0;
  std::string address_;
  State state_ = State::kHandshake;

  std::vector<char> chunk_;  // of the read that is under way
  bool is_reading_ = false, has_peer_ended_ = false;
  RequestReader reader_;
  Clock::time_point body_begin_;
  size_t reserved_bytes_ = 0;

  uint64_t number_ = 0;  // of the request
  Request request_;
  Exchange exchange_;
  Headers extra_headers_;  // of its answer, by Access
  const Route* route_ = nullptr;
  Clock::time_point received_;
  bool keeps_alive_ = false, is_head_ = false, is_version_10_ = false;
  std::function<void()> on_disconnect_;

  std::string head_, body_;  // being written
  std::shared_ptr<EventQueue> events_;
  std::function<void()> on_stream_close_;
  bool is_writing_ = false, ends_stream_ = false;
};

}  // namespace ingot::server
