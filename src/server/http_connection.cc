#include "server/http_connection.h"

#include <openssl/rand.h>

#include <algorithm>

#include "server/http_answer.h"

namespace ingot::server {
namespace {

namespace asio = boost::asio;
using asio::ip::tcp;

constexpr size_t kWatchBytes = 2048;          // read while no body is expected
constexpr size_t kReadBytes = 64 << 10;       // read of a body
constexpr size_t kMaxAheadBytes = 64 << 10;   // of requests that come before their turn
constexpr size_t kBytesPerSecond = 32 << 10;  // that a client must manage
constexpr std::chrono::seconds kHandshakeTimeout{10};
constexpr std::chrono::seconds kDrainTimeout{2};

std::string NewRequestId() {
  unsigned char bytes[8];
  RAND_bytes(bytes, sizeof bytes);
  std::string id;
  for (const unsigned char byte : bytes) id += fmt::format("{:02x}", byte);
  return id;
}

// One that cannot break a log line or a header.
bool IsRequestId(std::string_view id) {
  return !id.empty() && id.size() <= 64 && std::all_of(id.begin(), id.end(), [](char c) {
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '-' ||
           c == '_' || c == '.';
  });
}

// As IPv4 where it is one.
std::string AddressOf(const tcp::socket& socket) {
  boost::system::error_code ignored;
  asio::ip::address address = socket.remote_endpoint(ignored).address();
  if (address.is_v6() && address.to_v6().is_v4_mapped()) {
    address = asio::ip::make_address_v4(asio::ip::v4_mapped, address.to_v6());
  }
  return address.to_string();
}

}  // namespace

// The answer to one request, for its handler, on any thread.
class HttpConnection::AnswerOnce : public Responder {
 public:
  AnswerOnce(std::shared_ptr<HttpConnection> connection, uint64_t number)
      : connection_(std::move(connection)), number_(number) {}
  ~AnswerOnce() override {
    if (!is_used_) Send(PlainErrorResponse(500, "Internal Server Error"));
  }
  AnswerOnce(const AnswerOnce&) = delete;
  AnswerOnce& operator=(const AnswerOnce&) = delete;

  void Send(Response response) override {
    if (is_used_.exchange(true)) return;
    Post([number = number_, response = std::move(response)](HttpConnection& connection) mutable {
      connection.Answer(number, std::move(response));
    });
  }
  std::shared_ptr<EventStream> Stream(Headers headers, std::function<void()> on_close) override {
    auto events = connection_->NewEventQueue();
    if (is_used_.exchange(true)) return events;
    Post([number = number_, events, headers = std::move(headers),
          on_close = std::move(on_close)](HttpConnection& connection) mutable {
      connection.BeginStream(number, std::move(headers), std::move(events), std::move(on_close));
    });
    return events;
  }
  void OnDisconnect(std::function<void()> callback) override {
    Post([number = number_, callback = std::move(callback)](HttpConnection& connection) mutable {
      connection.SetOnDisconnect(number, std::move(callback));
    });
  }

 private:
  template <typename Action>
  void Post(Action action) {
    HttpCore& core = *connection_->core_;
    if (core.has_ended) return;
    asio::post(core.io, [connection = connection_, action = std::move(action)]() mutable {
      action(*connection);
    });
  }

  const std::shared_ptr<HttpConnection> connection_;
  const uint64_t number_;
  std::atomic<bool> is_used_ = false;
};

HttpConnection::HttpConnection(std::shared_ptr<HttpCore> core, tcp::socket socket)
    : core_(std::move(core)),
      timer_(core_->io),
      address_(AddressOf(socket)),
      reader_({.max_header_bytes = core_->options.max_header_bytes,
               .max_body_bytes = core_->options.max_body_bytes}) {
  ErrorCode ignored;
  socket.set_option(tcp::no_delay(true), ignored);
  transport_ = MakeTransport(std::move(socket), core_->tls);
  core_->connections.insert(this);
  ++core_->num_connections;
}

void HttpConnection::Start() {
  SetDeadline(kHandshakeTimeout);
  transport_->Handshake([self = shared_from_this()](ErrorCode error) {
    if (error || self->state_ != State::kHandshake) return self->Close();
    self->NextRequest();
    self->SetDeadline(self->core_->options.header_timeout);
    self->Advance();
  });
}

void HttpConnection::Refuse() {
  state_ = State::kHead;
  Reject(PlainErrorResponse(503, "Too many connections"));
}

void HttpConnection::BeginStop() {
  switch (state_) {
    case State::kHandling:
    case State::kWriting:
    case State::kBody:
      keeps_alive_ = false;
      return;
    case State::kStreaming:
    case State::kHandshake:
    case State::kHead:
    case State::kDraining:
    case State::kClosed:
      return Close();
  }
}

void HttpConnection::Close() {
  if (state_ == State::kClosed) return;
  FinishStream();
  ReleaseBody();
  state_ = State::kClosed;
  on_disconnect_ = nullptr;
  ClearDeadline();
  core_->connections.erase(this);
  --core_->num_connections;
  ErrorCode ignored;
  transport_->socket().close(ignored);
}

// Deadlines.

void HttpConnection::SetDeadline(Clock::duration after) {
  const uint64_t number = ++deadline_number_;
  timer_.expires_after(after);
  timer_.async_wait([self = shared_from_this(), number](ErrorCode error) {
    if (!error && number == self->deadline_number_) self->OnDeadline();
  });
}

void HttpConnection::ClearDeadline() {
  ++deadline_number_;
  timer_.cancel();
}

void HttpConnection::OnDeadline() {
  const bool is_late = (state_ == State::kHead && !reader_.is_fresh()) || state_ == State::kBody;
  if (!is_late) return Close();
  if (state_ == State::kHead) ++number_;
  Reject(PlainErrorResponse(408, "Request Timeout"));
}

HttpConnection::Clock::duration HttpConnection::TransferTime(size_t bytes) const {
  return core_->options.transfer_timeout +
         std::chrono::milliseconds(bytes * 1000 / kBytesPerSecond);
}

// Requests.

void HttpConnection::NextRequest() {
  state_ = State::kHead;
  reader_.Begin();
  request_ = {};
  exchange_ = {};
  extra_headers_.clear();
  route_ = nullptr;
  SetDeadline(core_->options.idle_timeout);
}

void HttpConnection::Advance() {
  if (state_ == State::kBody && is_writing_) return ReadMore();  // "100 Continue" first
  bool has_all = false;
  while (!has_all && (state_ == State::kHead || state_ == State::kBody)) {
    const bool was_fresh = reader_.is_fresh();
    const RequestReader::Found found = reader_.Next();
    if (was_fresh && !reader_.is_fresh()) SetDeadline(core_->options.header_timeout);
    switch (found) {
      case RequestReader::Found::kHead:
        OnHead();
        break;
      case RequestReader::Found::kMessage:
        OnMessage();
        break;
      case RequestReader::Found::kFault:
        return OnFault();
      case RequestReader::Found::kNothing:
        has_all = true;
        break;
    }
  }
  if (state_ == State::kBody) {
    // A second for each 32 KiB that came: who sends slower than that is cut off.
    const Clock::duration left = body_begin_ + TransferTime(reader_.body_bytes()) - Clock::now();
    SetDeadline(std::max(left, Clock::duration::zero()));
  }
  ReadMore();
}

void HttpConnection::ReadMore() {
  if (is_reading_ || has_peer_ended_ || state_ == State::kClosed) return;
  const bool is_watching = state_ != State::kHead && state_ != State::kBody;
  if (is_watching && state_ != State::kDraining && reader_.waiting_bytes() >= kMaxAheadBytes) {
    return;
  }
  is_reading_ = true;
  const size_t size =
      state_ == State::kBody || state_ == State::kDraining ? kReadBytes : kWatchBytes;
  if (chunk_.size() != size) std::vector<char>(size).swap(chunk_);
  transport_->Read(asio::buffer(chunk_), [self = shared_from_this()](ErrorCode error, size_t n) {
    self->OnRead(error, n);
  });
}

void HttpConnection::OnRead(ErrorCode error, size_t size) {
  is_reading_ = false;
  if (state_ == State::kClosed) return;
  if (error) {
    has_peer_ended_ = true;
    switch (state_) {
      case State::kHandling:
        // The answer is written all the same: some end their half when they have asked.
        keeps_alive_ = false;
        if (on_disconnect_) RunOnPool(std::exchange(on_disconnect_, nullptr));
        return;
      case State::kWriting:
        keeps_alive_ = false;
        return;
      default:
        return Close();
    }
  }
  if (state_ == State::kDraining) return ReadMore();
  if (state_ == State::kStreaming) return ReadMore();  // nothing may come: it is dropped
  reader_.Append({chunk_.data(), size});
  Advance();
}

void HttpConnection::OnFault() {
  if (state_ == State::kHead) {
    ++number_;
    is_head_ = false;
    received_ = Clock::now();
    exchange_.method = reader_.method();
  }
  Reject(PlainErrorResponse(reader_.fault().status, reader_.fault().message));
}

void HttpConnection::OnHead() {
  ++number_;
  RequestHead head = reader_.TakeHead();
  is_version_10_ = head.is_version_10;
  keeps_alive_ = head.keeps_alive;
  request_ = std::move(head.request);
  is_head_ = request_.method == "HEAD";
  exchange_.method = request_.method;
  exchange_.address = exchange_.client = address_;
  const std::string_view given_id = request_.header("X-Request-Id");
  exchange_.id = IsRequestId(given_id) ? std::string(given_id) : NewRequestId();
  received_ = Clock::now();
  if (head.fault) return Reject(PlainErrorResponse(head.fault->status, head.fault->message));
  request_.origin = fmt::format("{}://{}", core_->tls ? "https" : "http", request_.header("Host"));
  exchange_.path = request_.path;
  if (std::optional<Response> refusal = FindRefusal()) {
    return head.has_body ? Reject(*std::move(refusal)) : Write(*std::move(refusal));
  }
  return head.has_body ? BeginBody(head) : OnMessage();
}

std::optional<Response> HttpConnection::FindRefusal() {
  Router::Match match = core_->router.Find(request_.method, request_.path);
  route_ = match.route;
  if (route_ != nullptr) exchange_.route = route_->pattern;
  if (!match.path_exists) match.methods = {"GET", "POST", "PUT", "PATCH", "DELETE"};
  match.methods.insert(match.methods.end(), {"HEAD", "OPTIONS"});
  const bool changes_state =
      request_.method != "GET" && !is_head_ && (route_ == nullptr || route_->changes_state);
  Access::Verdict verdict = core_->access.Check(request_, address_, changes_state, match.methods);
  extra_headers_ = std::move(verdict.headers);
  request_.client = exchange_.client = std::move(verdict.client);
  return std::move(verdict.refusal);
}

void HttpConnection::BeginBody(const RequestHead& head) {
  reserved_bytes_ = head.body_bytes.value_or(core_->options.max_body_bytes);
  if (core_->bodies_bytes + reserved_bytes_ > core_->options.max_bodies_bytes) {
    reserved_bytes_ = 0;
    Response busy = PlainErrorResponse(503, "Too many large requests at once; try again");
    busy.headers.emplace_back("Retry-After", "1");
    return Reject(std::move(busy));
  }
  core_->bodies_bytes += reserved_bytes_;
  state_ = State::kBody;
  body_begin_ = Clock::now();
  if (head.expects_continue && reader_.waiting_bytes() == 0) SendContinue();
}

void HttpConnection::SendContinue() {
  static constexpr std::string_view kContinue = "HTTP/1.1 100 Continue\r\n\r\n";
  is_writing_ = true;
  transport_->Write({asio::buffer(kContinue)},
                    [self = shared_from_this()](ErrorCode error, size_t) {
                      self->is_writing_ = false;
                      if (error) return self->Close();
                      self->Advance();
                    });
}

void HttpConnection::ReleaseBody() {
  core_->bodies_bytes -= reserved_bytes_;
  reserved_bytes_ = 0;
}

void HttpConnection::OnMessage() {
  ReleaseBody();
  ClearDeadline();
  state_ = State::kHandling;
  received_ = Clock::now();
  request_.body = reader_.TakeBody();
  exchange_.bytes_in = request_.body.size();
  if (is_head_) request_.method = "GET";
  const auto responder = std::make_shared<AnswerOnce>(shared_from_this(), number_);
  auto handle = [&router = core_->router, request = std::move(request_), responder]() mutable {
    router.Handle(std::move(request), std::move(responder));
  };
  if (route_ != nullptr && (route_->may_block || exchange_.bytes_in > kReadBytes)) {
    asio::post(core_->pool, std::move(handle));
  } else {
    handle();
  }
}

void HttpConnection::RunOnPool(std::function<void()> callback) {
  if (core_->has_ended) return callback();
  asio::post(core_->pool, std::move(callback));
}

void HttpConnection::SetOnDisconnect(uint64_t number, std::function<void()> callback) {
  if (number != number_ || state_ != State::kHandling) return;
  if (has_peer_ended_) return RunOnPool(std::move(callback));
  on_disconnect_ = std::move(callback);
}

// Answers.

void HttpConnection::Answer(uint64_t number, Response response) {
  if (number != number_ || state_ != State::kHandling) return;
  Write(std::move(response));
}

void HttpConnection::Reject(Response response) {
  keeps_alive_ = false;
  ReleaseBody();
  if (is_writing_) return Close();  // in the middle of "100 Continue"
  Write(std::move(response));
}

std::string HttpConnection::Head(const Response& response, bool is_stream) const {
  return AnswerHead(response, extra_headers_,
                    {.is_stream = is_stream,
                     .is_version_10 = is_version_10_,
                     .keeps_alive = keeps_alive_,
                     .request_id = exchange_.id});
}

void HttpConnection::Observe(int status, size_t bytes_out, std::string job_id) {
  exchange_.status = status;
  exchange_.bytes_out = bytes_out;
  exchange_.job_id = std::move(job_id);
  if (received_ != Clock::time_point()) {
    exchange_.seconds = std::chrono::duration<double>(Clock::now() - received_).count();
  }
  if (exchange_.address.empty()) exchange_.address = exchange_.client = address_;
  if (core_->observe) core_->observe(exchange_);
}

void HttpConnection::Write(Response response) {
  state_ = State::kWriting;
  on_disconnect_ = nullptr;
  if (has_peer_ended_ || core_->stops) keeps_alive_ = false;
  std::string job_id;
  for (const auto& [name, value] : response.headers) {
    if (EqualsIgnoringCase(name, "X-Job-Id")) job_id = value;
  }
  head_ = Head(response, false);
  body_ = is_head_ ? std::string() : std::move(response.body);
  Observe(response.status, body_.size(), std::move(job_id));
  SetDeadline(TransferTime(head_.size() + body_.size()));
  transport_->Write(
      {asio::buffer(head_), asio::buffer(body_)},
      [self = shared_from_this()](ErrorCode error, size_t) { self->OnWritten(error); });
}

void HttpConnection::OnWritten(ErrorCode error) {
  if (state_ != State::kWriting) return;
  if (error) return Close();
  std::string().swap(head_);
  std::string().swap(body_);
  if (!keeps_alive_ || core_->stops) return Drain();
  NextRequest();
  Advance();
}

// Our half ends; the other's is read for a moment, as a reset would take the answer away from a
// client that still sends.
void HttpConnection::Drain() {
  state_ = State::kDraining;
  SetDeadline(kDrainTimeout);
  transport_->ShutdownSend([self = shared_from_this()] {
    if (self->state_ != State::kDraining) return;
    if (self->has_peer_ended_) return self->Close();
    self->ReadMore();
  });
}

// Streams of events.

std::shared_ptr<EventQueue> HttpConnection::NewEventQueue() {
  const auto wake = [connection = weak_from_this()] {
    const std::shared_ptr<HttpConnection> self = connection.lock();
    if (self == nullptr || self->core_->has_ended) return;
    asio::post(self->core_->io, [self] { self->PumpStream(); });
  };
  return std::make_shared<EventQueue>(core_->options.max_event_bytes, wake);
}

void HttpConnection::BeginStream(uint64_t number, Headers headers,
                                 std::shared_ptr<EventQueue> events,
                                 std::function<void()> on_close) {
  const bool is_due = number == number_ && state_ == State::kHandling && !core_->stops;
  if (!is_due || has_peer_ended_) {
    events->Abandon();
    if (on_close) RunOnPool(std::move(on_close));
    if (is_due) Close();
    return;
  }
  on_disconnect_ = nullptr;
  if (is_head_) {
    events->Abandon();
    if (on_close) RunOnPool(std::move(on_close));
    return Write({.content_type = "text/event-stream", .headers = std::move(headers)});
  }
  state_ = State::kStreaming;
  keeps_alive_ = false;
  ++core_->num_streams;
  events_ = std::move(events);
  on_stream_close_ = std::move(on_close);
  // Proxies that collect answers are asked not to.
  headers.emplace_back("X-Accel-Buffering", "no");
  Observe(200, 0, {});
  head_ = Head({.content_type = "text/event-stream", .headers = std::move(headers)}, true);
  is_writing_ = true;
  SetDeadline(core_->options.transfer_timeout);
  transport_->Write({asio::buffer(head_)}, [self = shared_from_this()](ErrorCode error, size_t) {
    self->is_writing_ = false;
    std::string().swap(self->head_);
    if (error || self->state_ != State::kStreaming) return self->Close();
    self->ClearDeadline();
    self->PumpStream();
  });
}

void HttpConnection::PumpStream() {
  if (state_ != State::kStreaming || is_writing_) return;
  if (ends_stream_) return Drain();
  EventQueue::Taken taken = events_->Take();
  if (taken.is_full) return Close();
  if (taken.text.empty() && !taken.is_closed) return;
  ends_stream_ = taken.is_closed;
  if (is_version_10_) {
    body_ = std::move(taken.text);
  } else {
    body_.clear();
    if (!taken.text.empty()) body_ = fmt::format("{:x}\r\n{}\r\n", taken.text.size(), taken.text);
    if (taken.is_closed) body_ += "0\r\n\r\n";
  }
  events_->SetUnwritten(body_.size());
  is_writing_ = true;
  SetDeadline(TransferTime(body_.size()));
  transport_->Write({asio::buffer(body_)}, [self = shared_from_this()](ErrorCode error, size_t) {
    self->is_writing_ = false;
    if (error || self->state_ != State::kStreaming) return self->Close();
    std::string().swap(self->body_);
    self->events_->SetUnwritten(0);
    self->ClearDeadline();
    self->PumpStream();
  });
}

void HttpConnection::Ping() {
  if (state_ == State::kStreaming && !is_writing_) events_->Ping();
}

void HttpConnection::FinishStream() {
  if (events_ == nullptr) return;
  --core_->num_streams;
  events_->Abandon();
  events_ = nullptr;
  if (on_stream_close_) RunOnPool(std::exchange(on_stream_close_, nullptr));
}

}  // namespace ingot::server
