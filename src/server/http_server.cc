#include "server/http_server.h"

#include <openssl/rand.h>

#include <algorithm>
#include <atomic>
#include <boost/asio.hpp>
#include <boost/asio/ssl.hpp>
#include <boost/beast/http.hpp>
#include <cstdio>
#include <ctime>
#include <mutex>
#include <thread>
#include <unordered_set>

#include "server/url.h"

namespace ingot::server {
namespace {

namespace asio = boost::asio;
namespace http = boost::beast::http;
using asio::ip::tcp;
using boost::system::error_code;
using Clock = std::chrono::steady_clock;

constexpr size_t kWatchBytes = 2048;          // read while no body is expected
constexpr size_t kReadBytes = 64 << 10;       // read of a body
constexpr size_t kMaxAheadBytes = 64 << 10;   // of requests that come before their turn
constexpr size_t kBytesPerSecond = 32 << 10;  // that a client must manage
constexpr std::chrono::seconds kHandshakeTimeout{10};
constexpr std::chrono::seconds kDrainTimeout{2};

class Session;

// What all connections share; lives as long as the last of them.
struct Core {
  Core(const HttpServerOptions& server_options, const Router& table, Access& gate,
       std::function<void(const Exchange&)> observer)
      : options(server_options),
        router(table),
        access(gate),
        observe(std::move(observer)),
        pool(server_options.num_handler_threads) {}

  const HttpServerOptions options;
  const Router& router;
  Access& access;
  const std::function<void(const Exchange&)> observe;
  asio::io_context io{1};
  asio::thread_pool pool;
  std::optional<asio::ssl::context> tls;
  std::atomic<size_t> num_connections = 0, num_streams = 0;
  std::atomic<bool> stops = false;      // no new requests
  std::atomic<bool> has_ended = false;  // the I/O thread runs no more

  // Of the I/O thread alone.
  std::unordered_set<Session*> sessions;
  size_t bodies_bytes = 0;  // reserved by requests that are being read
};

// A connection's bytes, with or without TLS.
class Transport {
 public:
  using Done = std::function<void(error_code, size_t)>;
  virtual ~Transport() = default;
  virtual void Handshake(std::function<void(error_code)> done) = 0;
  virtual void Read(asio::mutable_buffer to, Done done) = 0;
  virtual void Write(const std::vector<asio::const_buffer>& from, Done done) = 0;
  virtual void ShutdownSend(std::function<void()> done) = 0;
  virtual tcp::socket& socket() = 0;
};

class PlainTransport : public Transport {
 public:
  explicit PlainTransport(tcp::socket socket) : socket_(std::move(socket)) {}
  void Handshake(std::function<void(error_code)> done) override { done({}); }
  void Read(asio::mutable_buffer to, Done done) override {
    socket_.async_read_some(to, std::move(done));
  }
  void Write(const std::vector<asio::const_buffer>& from, Done done) override {
    asio::async_write(socket_, from, std::move(done));
  }
  void ShutdownSend(std::function<void()> done) override {
    error_code ignored;
    socket_.shutdown(tcp::socket::shutdown_send, ignored);
    done();
  }
  tcp::socket& socket() override { return socket_; }

 private:
  tcp::socket socket_;
};

class TlsTransport : public Transport {
 public:
  TlsTransport(tcp::socket socket, asio::ssl::context& context)
      : stream_(std::move(socket), context) {}
  void Handshake(std::function<void(error_code)> done) override {
    stream_.async_handshake(asio::ssl::stream_base::server, std::move(done));
  }
  void Read(asio::mutable_buffer to, Done done) override {
    stream_.async_read_some(to, std::move(done));
  }
  void Write(const std::vector<asio::const_buffer>& from, Done done) override {
    asio::async_write(stream_, from, std::move(done));
  }
  // Waits for the peer's answer, which may never come: the caller's deadline ends it.
  void ShutdownSend(std::function<void()> done) override {
    stream_.async_shutdown([done = std::move(done)](error_code) { done(); });
  }
  tcp::socket& socket() override { return stream_.next_layer(); }

 private:
  asio::ssl::stream<tcp::socket> stream_;
};

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

std::string HttpDate() {
  const std::time_t now = std::time(nullptr);
  std::tm utc;
  gmtime_r(&now, &utc);
  char text[32];
  const size_t size = std::strftime(text, sizeof text, "%a, %d %b %Y %H:%M:%S GMT", &utc);
  return {text, size};
}

std::string_view Reason(int status) {
  const auto reason = http::obsolete_reason(static_cast<http::status>(status));
  return {reason.data(), reason.size()};
}

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

// Events on their way from any thread to the I/O thread.
class StreamQueue : public EventStream, public std::enable_shared_from_this<StreamQueue> {
 public:
  StreamQueue(std::shared_ptr<Core> core, std::weak_ptr<Session> session)
      : core_(std::move(core)), session_(std::move(session)) {}

  void Send(std::string_view id, std::string_view event, std::string_view data) override {
    Push(EventText(id, event, data), false);
  }
  void Close() override { Push({}, true); }

  void Push(const std::string& text, bool closes);

  // What waits; `is_closed`: nothing comes after it. Empties the queue.
  std::string Take(bool& is_closed, bool& is_full) {
    const std::lock_guard lock(mutex_);
    is_posted_ = false;
    is_closed = is_closed_;
    is_full = is_full_;
    return std::exchange(text_, {});
  }
  // Of the I/O thread: bytes that were taken and not written yet.
  void SetUnwritten(size_t bytes) {
    const std::lock_guard lock(mutex_);
    unwritten_bytes_ = bytes;
  }
  // The client has gone: what is sent from now on is dropped.
  void Abandon() {
    const std::lock_guard lock(mutex_);
    is_closed_ = true;
    text_ = {};
  }

 private:
  const std::shared_ptr<Core> core_;
  const std::weak_ptr<Session> session_;
  std::mutex mutex_;
  std::string text_;
  size_t unwritten_bytes_ = 0;
  bool is_posted_ = false, is_closed_ = false, is_full_ = false;
};

// A connection. All of it runs on the I/O thread.
class Session : public std::enable_shared_from_this<Session> {
 public:
  Session(std::shared_ptr<Core> core, tcp::socket socket) : core_(std::move(core)) {
    error_code ignored;
    const tcp::endpoint remote = socket.remote_endpoint(ignored);
    asio::ip::address address = remote.address();
    if (address.is_v6() && address.to_v6().is_v4_mapped()) {
      address = asio::ip::make_address_v4(asio::ip::v4_mapped, address.to_v6());
    }
    address_ = address.to_string();
    socket.set_option(tcp::no_delay(true), ignored);
    if (core_->tls) {
      transport_ = std::make_unique<TlsTransport>(std::move(socket), *core_->tls);
    } else {
      transport_ = std::make_unique<PlainTransport>(std::move(socket));
    }
    timer_.emplace(core_->io);
    core_->sessions.insert(this);
    ++core_->num_connections;
  }
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;

  void Start();
  // Before anything is read: there are too many connections.
  void Refuse();

  // Of the request `number`; a second answer, or one that comes late, is dropped.
  void Answer(uint64_t number, Response response);
  void BeginStream(uint64_t number, Headers headers, std::shared_ptr<StreamQueue> stream,
                   std::function<void()> on_close);
  void SetOnDisconnect(uint64_t number, std::function<void()> callback);
  void PumpStream();
  void Ping();

  // The server stops: idle connections and streams end now, the others after their answer.
  void BeginStop();
  void Close();

  const std::shared_ptr<Core>& core() const { return core_; }

 private:
  enum class State : uint8_t {
    kHandshake,
    kHeader,
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
  void OnRead(error_code error, size_t size);
  void OnParseError(error_code error);
  void OnHeader();
  void OnMessage();
  // An answer before the body was read: the connection ends with it.
  void Reject(Response response);
  void Write(Response response);
  void OnWritten(error_code error);
  void Drain();
  void FinishStream();
  void ReleaseBody();
  void RunOnPool(std::function<void()> callback);
  std::string Head(const Response& response, bool is_stream);
  void Observe(int status, size_t bytes_out, std::string job_id);

  void SetDeadline(Clock::duration after);
  void ClearDeadline();
  void OnDeadline();
  Clock::duration TransferTime(size_t bytes) const {
    return core_->options.transfer_timeout +
           std::chrono::milliseconds(bytes * 1000 / kBytesPerSecond);
  }

  // First, so that the socket goes before the io_context it belongs to.
  std::shared_ptr<Core> core_;
  std::unique_ptr<Transport> transport_;
  std::optional<asio::steady_timer> timer_;
  uint64_t deadline_number_ = 0;
  std::string address_;
  State state_ = State::kHandshake;

  std::string inbox_;        // read, not parsed yet
  std::vector<char> chunk_;  // of the read that is under way
  bool is_reading_ = false, has_peer_ended_ = false;
  std::optional<http::request_parser<http::string_body>> parser_;
  bool is_fresh_ = true;  // no byte of the request has come
  Clock::time_point body_begin_;
  size_t body_bytes_ = 0, reserved_bytes_ = 0;

  uint64_t number_ = 0;  // of the request
  Request request_;
  Exchange exchange_;
  Headers extra_headers_;  // of its answer, by Access
  const Route* route_ = nullptr;
  Clock::time_point received_;
  bool keeps_alive_ = false, is_head_ = false, is_version_10_ = false;
  std::function<void()> on_disconnect_;

  std::string head_, body_;  // being written
  std::shared_ptr<StreamQueue> stream_;
  std::function<void()> on_stream_close_;
  bool is_writing_ = false, ends_stream_ = false;
};

void StreamQueue::Push(const std::string& text, bool closes) {
  {
    const std::lock_guard lock(mutex_);
    if (is_closed_ || is_full_) return;
    // One event alone may be larger than the bound: a preview of a large picture.
    const size_t waiting = text_.size() + unwritten_bytes_;
    is_full_ = waiting > 0 && waiting + text.size() > core_->options.max_event_bytes;
    is_closed_ = closes;
    if (is_full_) {
      text_ = {};
    } else {
      text_ += text;
    }
    if (is_posted_) return;
    is_posted_ = true;
  }
  const std::shared_ptr<Session> session = session_.lock();
  if (session == nullptr || core_->has_ended) return;
  asio::post(core_->io, [session] { session->PumpStream(); });
}

// The answer to one request, for its handler.
class SessionResponder : public Responder {
 public:
  SessionResponder(std::shared_ptr<Session> session, uint64_t number)
      : session_(std::move(session)), number_(number) {}
  ~SessionResponder() override {
    if (!is_used_) Send(PlainErrorResponse(500, "Internal Server Error"));
  }
  SessionResponder(const SessionResponder&) = delete;
  SessionResponder& operator=(const SessionResponder&) = delete;

  void Send(Response response) override {
    if (is_used_.exchange(true)) return;
    Post([number = number_, response = std::move(response)](Session& session) mutable {
      session.Answer(number, std::move(response));
    });
  }
  std::shared_ptr<EventStream> Stream(Headers headers, std::function<void()> on_close) override {
    auto stream = std::make_shared<StreamQueue>(session_->core(), session_);
    if (is_used_.exchange(true)) return stream;
    Post([number = number_, stream, headers = std::move(headers),
          on_close = std::move(on_close)](Session& session) mutable {
      session.BeginStream(number, std::move(headers), std::move(stream), std::move(on_close));
    });
    return stream;
  }
  void OnDisconnect(std::function<void()> callback) override {
    Post([number = number_, callback = std::move(callback)](Session& session) mutable {
      session.SetOnDisconnect(number, std::move(callback));
    });
  }

 private:
  template <typename Action>
  void Post(Action action) {
    const std::shared_ptr<Core>& core = session_->core();
    if (core->has_ended) return;
    asio::post(core->io,
               [session = session_, action = std::move(action)]() mutable { action(*session); });
  }

  const std::shared_ptr<Session> session_;
  const uint64_t number_;
  std::atomic<bool> is_used_ = false;
};

void Session::SetDeadline(Clock::duration after) {
  const uint64_t number = ++deadline_number_;
  timer_->expires_after(after);
  timer_->async_wait([self = shared_from_this(), number](error_code error) {
    if (!error && number == self->deadline_number_) self->OnDeadline();
  });
}

void Session::ClearDeadline() {
  ++deadline_number_;
  timer_->cancel();
}

void Session::OnDeadline() {
  const bool is_late = (state_ == State::kHeader && !is_fresh_) || state_ == State::kBody;
  if (!is_late) return Close();
  if (state_ == State::kHeader) ++number_;
  Reject(PlainErrorResponse(408, "Request Timeout"));
}

void Session::Start() {
  SetDeadline(kHandshakeTimeout);
  transport_->Handshake([self = shared_from_this()](error_code error) {
    if (error || self->state_ != State::kHandshake) return self->Close();
    self->NextRequest();
    self->SetDeadline(self->core_->options.header_timeout);
    self->Advance();
  });
}

void Session::Refuse() {
  state_ = State::kHeader;
  Reject(PlainErrorResponse(503, "Too many connections"));
}

void Session::NextRequest() {
  state_ = State::kHeader;
  parser_.emplace();
  parser_->header_limit(core_->options.max_header_bytes);
  parser_->body_limit(core_->options.max_body_bytes);
  is_fresh_ = true;
  request_ = {};
  exchange_ = {};
  extra_headers_.clear();
  route_ = nullptr;
  body_bytes_ = 0;
  if (inbox_.empty()) inbox_.shrink_to_fit();
  SetDeadline(core_->options.idle_timeout);
}

void Session::Advance() {
  if (state_ == State::kBody && is_writing_) return ReadMore();  // "100 Continue" first
  while ((state_ == State::kHeader || state_ == State::kBody) && !inbox_.empty()) {
    if (is_fresh_) {
      is_fresh_ = false;
      SetDeadline(core_->options.header_timeout);
    }
    error_code error;
    const size_t used = parser_->put(asio::buffer(inbox_), error);
    inbox_.erase(0, used);
    if (error && error != http::error::need_more) return OnParseError(error);
    if (state_ == State::kHeader) {
      if (parser_->is_header_done()) {
        OnHeader();
        continue;
      }
    } else {
      body_bytes_ += used;
      if (parser_->is_done()) {
        OnMessage();
        continue;
      }
    }
    if (used == 0) {
      // An extension of a chunk without an end.
      if (inbox_.size() > core_->options.max_header_bytes + kReadBytes) {
        return OnParseError(http::error::header_limit);
      }
      break;
    }
  }
  if (state_ == State::kBody) {
    // A second for each 32 KiB that came: who sends slower than that is cut off.
    const Clock::duration left = body_begin_ + TransferTime(body_bytes_) - Clock::now();
    SetDeadline(std::max(left, Clock::duration::zero()));
  }
  ReadMore();
}

void Session::ReadMore() {
  if (is_reading_ || has_peer_ended_ || state_ == State::kClosed) return;
  const bool is_watching = state_ != State::kHeader && state_ != State::kBody;
  if (is_watching && state_ != State::kDraining && inbox_.size() >= kMaxAheadBytes) return;
  is_reading_ = true;
  const size_t size =
      state_ == State::kBody || state_ == State::kDraining ? kReadBytes : kWatchBytes;
  if (chunk_.size() != size) std::vector<char>(size).swap(chunk_);
  transport_->Read(asio::buffer(chunk_), [self = shared_from_this()](error_code error, size_t n) {
    self->OnRead(error, n);
  });
}

void Session::OnRead(error_code error, size_t size) {
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
  inbox_.append(chunk_.data(), size);
  Advance();
}

void Session::OnParseError(error_code error) {
  int status = 400;
  if (error == http::error::header_limit || error == http::error::buffer_overflow) status = 431;
  if (error == http::error::body_limit) status = 413;
  if (state_ == State::kHeader) {
    ++number_;
    is_head_ = false;
    received_ = Clock::now();
    const auto& message = parser_->get();
    exchange_.method = std::string(message.method_string());
  }
  Reject(PlainErrorResponse(status, Reason(status)));
}

void Session::OnHeader() {
  ++number_;
  const auto& message = parser_->get();
  is_version_10_ = message.version() == 10;
  keeps_alive_ = message.keep_alive();
  request_.method = std::string(message.method_string());
  for (const auto& field : message) {
    request_.headers.emplace_back(std::string(field.name_string()), std::string(field.value()));
  }
  is_head_ = request_.method == "HEAD";
  exchange_.method = request_.method;
  exchange_.address = exchange_.client = address_;
  const std::string_view given_id = request_.header("X-Request-Id");
  exchange_.id = IsRequestId(given_id) ? std::string(given_id) : NewRequestId();
  received_ = Clock::now();

  const auto bad = [&](int status, std::string_view why) {
    Reject(PlainErrorResponse(status, why));
  };
  if (message.version() != 10 && message.version() != 11) {
    return bad(505, "HTTP: expected version 1.0 or 1.1, found another");
  }
  if (message.count(http::field::host) > 1 ||
      (message.count(http::field::host) == 0 && !is_version_10_)) {
    return bad(400, "Host: expected one, found none or several");
  }
  if (message.count(http::field::transfer_encoding) > 0 &&
      (is_version_10_ || message.count(http::field::transfer_encoding) > 1 ||
       !EqualsIgnoringCase(request_.header("Transfer-Encoding"), "chunked"))) {
    return bad(501, "Transfer-Encoding: expected chunked, found another");
  }
  // What stands in front of the server may read two lengths otherwise than we do.
  const std::string_view length = request_.header("Content-Length");
  if (message.count(http::field::content_length) > 1 ||
      length.find_first_not_of("0123456789") != std::string_view::npos ||
      (message.count(http::field::content_length) == 1 &&
       message.count(http::field::transfer_encoding) > 0)) {
    return bad(400, "Content-Length: expected one length, found several");
  }

  const std::string_view target(message.target().data(), message.target().size());
  const bool is_asterisk = request_.method == "OPTIONS" && target == "*";
  Result<Target> parsed = ParseTarget(is_asterisk ? "/" : target);
  if (!parsed.ok()) return bad(400, parsed.status().message());
  request_.path = std::move(parsed->path);
  request_.query = std::move(parsed->query);
  request_.origin = fmt::format("{}://{}", core_->tls ? "https" : "http", request_.header("Host"));
  exchange_.path = request_.path;

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

  const bool has_body = !parser_->is_done();
  if (verdict.refusal) {
    if (has_body) return Reject(*std::move(verdict.refusal));
    return Write(*std::move(verdict.refusal));
  }
  if (!has_body) return OnMessage();

  reserved_bytes_ = parser_->content_length() ? static_cast<size_t>(*parser_->content_length())
                                              : core_->options.max_body_bytes;
  if (core_->bodies_bytes + reserved_bytes_ > core_->options.max_bodies_bytes) {
    reserved_bytes_ = 0;
    Response busy = PlainErrorResponse(503, "Too many large requests at once; try again");
    busy.headers.emplace_back("Retry-After", "1");
    return Reject(std::move(busy));
  }
  core_->bodies_bytes += reserved_bytes_;
  state_ = State::kBody;
  parser_->eager(true);
  body_begin_ = Clock::now();
  if (EqualsIgnoringCase(request_.header("Expect"), "100-continue") && inbox_.empty()) {
    static constexpr std::string_view kContinue = "HTTP/1.1 100 Continue\r\n\r\n";
    is_writing_ = true;
    transport_->Write({asio::buffer(kContinue)},
                      [self = shared_from_this()](error_code error, size_t) {
                        self->is_writing_ = false;
                        if (error) return self->Close();
                        self->Advance();
                      });
  }
}

void Session::ReleaseBody() {
  core_->bodies_bytes -= reserved_bytes_;
  reserved_bytes_ = 0;
}

void Session::OnMessage() {
  ReleaseBody();
  ClearDeadline();
  state_ = State::kHandling;
  received_ = Clock::now();
  request_.body = std::move(parser_->get().body());
  exchange_.bytes_in = request_.body.size();
  if (is_head_) request_.method = "GET";
  const auto responder = std::make_shared<SessionResponder>(shared_from_this(), number_);
  auto handle = [&router = core_->router, request = std::move(request_), responder]() mutable {
    router.Handle(std::move(request), std::move(responder));
  };
  if (route_ != nullptr && (route_->may_block || exchange_.bytes_in > kReadBytes)) {
    asio::post(core_->pool, std::move(handle));
  } else {
    handle();
  }
}

void Session::RunOnPool(std::function<void()> callback) {
  if (core_->has_ended) return callback();
  asio::post(core_->pool, std::move(callback));
}

void Session::SetOnDisconnect(uint64_t number, std::function<void()> callback) {
  if (number != number_ || state_ != State::kHandling) return;
  if (has_peer_ended_) return RunOnPool(std::move(callback));
  on_disconnect_ = std::move(callback);
}

void Session::Answer(uint64_t number, Response response) {
  if (number != number_ || state_ != State::kHandling) return;
  Write(std::move(response));
}

void Session::Reject(Response response) {
  keeps_alive_ = false;
  ReleaseBody();
  if (is_writing_) return Close();  // in the middle of "100 Continue"
  Write(std::move(response));
}

std::string Session::Head(const Response& response, bool is_stream) {
  std::string head = fmt::format("HTTP/1.1 {} {}\r\nDate: {}\r\n", response.status,
                                 Reason(response.status), HttpDate());
  const auto has = [&](std::string_view name) {
    return std::any_of(response.headers.begin(), response.headers.end(),
                       [&](const auto& header) { return EqualsIgnoringCase(header.first, name); });
  };
  const auto add = [&](std::string_view name, std::string_view value) {
    // A line break in a value would begin another header.
    if (name.find_first_of("\r\n:") != std::string_view::npos ||
        value.find_first_of(std::string_view("\r\n\0", 3)) != std::string_view::npos) {
      return;
    }
    head.append(name).append(": ").append(value).append("\r\n");
  };
  if (!response.content_type.empty()) add("Content-Type", response.content_type);
  if (is_stream) {
    if (!is_version_10_) add("Transfer-Encoding", "chunked");
  } else if (response.status != 204 && response.status != 304) {
    add("Content-Length", std::to_string(response.body.size()));
  }
  if (!keeps_alive_) {
    add("Connection", "close");
  } else if (is_version_10_) {
    add("Connection", "keep-alive");
  }
  if (!exchange_.id.empty()) add("X-Request-Id", exchange_.id);
  add("X-Content-Type-Options", "nosniff");
  add("Referrer-Policy", "no-referrer");
  if (!has("Cache-Control")) add("Cache-Control", "no-store");
  if (response.content_type.starts_with("text/html")) {
    if (!has("Content-Security-Policy")) {
      add("Content-Security-Policy",
          "default-src 'self'; img-src 'self' data: blob:; object-src 'none'; base-uri 'none'; "
          "form-action 'self'; frame-ancestors 'none'");
    }
    add("X-Frame-Options", "DENY");
  }
  for (const auto& [name, value] : response.headers) add(name, value);
  for (const auto& [name, value] : extra_headers_) add(name, value);
  head += "\r\n";
  return head;
}

void Session::Observe(int status, size_t bytes_out, std::string job_id) {
  exchange_.status = status;
  exchange_.bytes_out = bytes_out;
  exchange_.job_id = std::move(job_id);
  if (received_ != Clock::time_point()) {
    exchange_.seconds = std::chrono::duration<double>(Clock::now() - received_).count();
  }
  if (exchange_.address.empty()) exchange_.address = exchange_.client = address_;
  if (core_->observe) core_->observe(exchange_);
}

void Session::Write(Response response) {
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
      [self = shared_from_this()](error_code error, size_t) { self->OnWritten(error); });
}

void Session::OnWritten(error_code error) {
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
void Session::Drain() {
  state_ = State::kDraining;
  SetDeadline(kDrainTimeout);
  transport_->ShutdownSend([self = shared_from_this()] {
    if (self->state_ != State::kDraining) return;
    if (self->has_peer_ended_) return self->Close();
    self->ReadMore();
  });
}

void Session::BeginStream(uint64_t number, Headers headers, std::shared_ptr<StreamQueue> stream,
                          std::function<void()> on_close) {
  const bool is_due = number == number_ && state_ == State::kHandling && !core_->stops;
  if (!is_due || has_peer_ended_) {
    stream->Abandon();
    if (on_close) RunOnPool(std::move(on_close));
    if (is_due) Close();
    return;
  }
  on_disconnect_ = nullptr;
  if (is_head_) {
    stream->Abandon();
    if (on_close) RunOnPool(std::move(on_close));
    return Write({.content_type = "text/event-stream", .headers = std::move(headers)});
  }
  state_ = State::kStreaming;
  keeps_alive_ = false;
  ++core_->num_streams;
  stream_ = std::move(stream);
  on_stream_close_ = std::move(on_close);
  // Proxies that collect answers are asked not to.
  headers.emplace_back("X-Accel-Buffering", "no");
  Observe(200, 0, {});
  head_ = Head({.content_type = "text/event-stream", .headers = std::move(headers)}, true);
  is_writing_ = true;
  SetDeadline(core_->options.transfer_timeout);
  transport_->Write({asio::buffer(head_)}, [self = shared_from_this()](error_code error, size_t) {
    self->is_writing_ = false;
    std::string().swap(self->head_);
    if (error || self->state_ != State::kStreaming) return self->Close();
    self->ClearDeadline();
    self->PumpStream();
  });
}

void Session::PumpStream() {
  if (state_ != State::kStreaming || is_writing_) return;
  if (ends_stream_) return Drain();
  bool is_closed = false, is_full = false;
  std::string text = stream_->Take(is_closed, is_full);
  if (is_full) return Close();
  if (text.empty() && !is_closed) return;
  ends_stream_ = is_closed;
  if (is_version_10_) {
    body_ = std::move(text);
  } else {
    body_.clear();
    if (!text.empty()) body_ = fmt::format("{:x}\r\n{}\r\n", text.size(), text);
    if (is_closed) body_ += "0\r\n\r\n";
  }
  stream_->SetUnwritten(body_.size());
  is_writing_ = true;
  SetDeadline(TransferTime(body_.size()));
  transport_->Write({asio::buffer(body_)}, [self = shared_from_this()](error_code error, size_t) {
    self->is_writing_ = false;
    if (error || self->state_ != State::kStreaming) return self->Close();
    std::string().swap(self->body_);
    self->stream_->SetUnwritten(0);
    self->ClearDeadline();
    self->PumpStream();
  });
}

void Session::Ping() {
  if (state_ == State::kStreaming && !is_writing_) stream_->Push(": ping\n\n", false);
}

void Session::FinishStream() {
  if (stream_ == nullptr) return;
  --core_->num_streams;
  stream_->Abandon();
  stream_ = nullptr;
  if (on_stream_close_) RunOnPool(std::exchange(on_stream_close_, nullptr));
}

void Session::BeginStop() {
  switch (state_) {
    case State::kHandling:
    case State::kWriting:
    case State::kBody:
      keeps_alive_ = false;
      return;
    case State::kStreaming:
      FinishStream();
      return Close();
    case State::kHandshake:
    case State::kHeader:
    case State::kDraining:
    case State::kClosed:
      return Close();
  }
}

void Session::Close() {
  if (state_ == State::kClosed) return;
  FinishStream();
  ReleaseBody();
  state_ = State::kClosed;
  on_disconnect_ = nullptr;
  ClearDeadline();
  core_->sessions.erase(this);
  --core_->num_connections;
  error_code ignored;
  transport_->socket().close(ignored);
}

class Server : public HttpServer {
 public:
  Server(std::shared_ptr<Core> core, tcp::acceptor acceptor)
      : core_(std::move(core)),
        acceptor_(std::move(acceptor)),
        ping_timer_(core_->io),
        accept_timer_(core_->io),
        port_(acceptor_.local_endpoint().port()) {
    Accept();
    PingLater();
    thread_ = std::thread([core = core_] {
      core->io.run();
      core->has_ended = true;
    });
  }

  ~Server() override {
    asio::post(core_->io, [this] { BeginStop(); });
    thread_.join();
    core_->pool.join();
    // What came in between holds a connection, which holds the context that it waits in.
    core_->io.restart();
    core_->io.poll();
  }

  int port() const override { return port_; }
  std::string url() const override {
    const HttpServerOptions& options = core_->options;
    const bool is_v6 = options.address.find(':') != std::string::npos;
    return fmt::format("{}://{}{}{}:{}", core_->tls ? "https" : "http", is_v6 ? "[" : "",
                       options.address, is_v6 ? "]" : "", port_);
  }
  HttpCounts counts() const override { return {core_->num_connections, core_->num_streams}; }

 private:
  void Accept() {
    acceptor_.async_accept([this](error_code error, tcp::socket socket) {
      if (core_->stops) return;
      if (!error) {
        const bool has_room = core_->num_connections < core_->options.max_connections;
        const auto session = std::make_shared<Session>(core_, std::move(socket));
        if (has_room) {
          session->Start();
        } else if (core_->tls) {
          session->Close();
        } else {
          session->Refuse();
        }
        return Accept();
      }
      // Out of descriptors: those that end make room.
      accept_timer_.expires_after(std::chrono::milliseconds(100));
      accept_timer_.async_wait([this](error_code cancelled) {
        if (!cancelled) Accept();
      });
    });
  }

  void PingLater() {
    ping_timer_.expires_after(core_->options.ping_interval);
    ping_timer_.async_wait([this](error_code cancelled) {
      if (cancelled) return;
      for (Session* session : core_->sessions) session->Ping();
      PingLater();
    });
  }

  std::vector<std::shared_ptr<Session>> Sessions() const {
    std::vector<std::shared_ptr<Session>> sessions;
    for (Session* session : core_->sessions) {
      if (auto shared = session->weak_from_this().lock()) sessions.push_back(std::move(shared));
    }
    return sessions;
  }

  void BeginStop() {
    core_->stops = true;
    error_code ignored;
    acceptor_.close(ignored);
    ping_timer_.cancel();
    accept_timer_.cancel();
    for (const auto& session : Sessions()) session->BeginStop();
    stop_deadline_ = Clock::now() + core_->options.stop_grace;
    AwaitSessions();
  }

  // Those that wait for an answer hold no operation that would keep the thread running.
  void AwaitSessions() {
    const bool is_over = Clock::now() >= stop_deadline_;
    if (is_over) {
      for (const auto& session : Sessions()) session->Close();
    }
    if (is_over || core_->sessions.empty()) return;
    accept_timer_.expires_after(std::chrono::milliseconds(10));
    accept_timer_.async_wait([this](error_code) { AwaitSessions(); });
  }

  const std::shared_ptr<Core> core_;
  tcp::acceptor acceptor_;
  asio::steady_timer ping_timer_, accept_timer_;
  const int port_;
  Clock::time_point stop_deadline_;
  std::thread thread_;
};

Result<asio::ip::address> ParseAddress(const std::string& text) {
  error_code error;
  const asio::ip::address address =
      asio::ip::make_address(text == "localhost" ? "127.0.0.1" : text, error);
  if (error) {
    return InvalidArgument("--listen: expected an address such as 0.0.0.0 or ::, found '{}'", text);
  }
  return address;
}

Status LoadTls(const HttpServerOptions& options, std::optional<asio::ssl::context>& tls) {
  if (options.tls_certfile.empty() && options.tls_keyfile.empty()) return {};
  if (options.tls_certfile.empty() || options.tls_keyfile.empty()) {
    return InvalidArgument("--tls-certfile, --tls-keyfile: expected both, found one");
  }
  tls.emplace(asio::ssl::context::tls_server);
  SSL_CTX_set_min_proto_version(tls->native_handle(), TLS1_2_VERSION);
  error_code error;
  tls->use_certificate_chain_file(options.tls_certfile.string(), error);
  if (error) {
    return InvalidArgument("--tls-certfile {}: expected a PEM chain, found: {}",
                           options.tls_certfile.string(), error.message());
  }
  tls->use_private_key_file(options.tls_keyfile.string(), asio::ssl::context::pem, error);
  if (error) {
    return InvalidArgument("--tls-keyfile {}: expected the certificate's PEM key, found: {}",
                           options.tls_keyfile.string(), error.message());
  }
  return {};
}

}  // namespace

Result<std::unique_ptr<HttpServer>> HttpServer::Listen(
    const HttpServerOptions& options, const Router& router, Access& access,
    std::function<void(const Exchange&)> observe) {
  INGOT_ASSIGN_OR_RETURN(const asio::ip::address address, ParseAddress(options.address));
  if (options.port < 0 || options.port > 65535) {
    return InvalidArgument("--port: expected a number from 0 to 65535, found {}", options.port);
  }
  auto core = std::make_shared<Core>(options, router, access, std::move(observe));
  INGOT_RETURN_IF_ERROR(LoadTls(options, core->tls));
  const tcp::endpoint endpoint(address, static_cast<unsigned short>(options.port));
  tcp::acceptor acceptor(core->io);
  error_code error;
  acceptor.open(endpoint.protocol(), error);
  if (!error) acceptor.set_option(tcp::acceptor::reuse_address(true), error);
  if (!error) acceptor.bind(endpoint, error);
  if (!error) acceptor.listen(1024, error);
  if (error) {
    return Unavailable("port {} of {}: expected to listen on it, found: {}", options.port,
                       options.address, error.message());
  }
  return std::unique_ptr<HttpServer>(
      std::make_unique<Server>(std::move(core), std::move(acceptor)));
}

}  // namespace ingot::server
