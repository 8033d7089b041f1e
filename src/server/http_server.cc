#include "server/http_server.h"

#include <thread>

#include "server/http_connection.h"

namespace ingot::server {
namespace {

namespace asio = boost::asio;
using asio::ip::tcp;
using boost::system::error_code;
using Clock = std::chrono::steady_clock;

// Accepts, pings, and stops.
class Server : public HttpServer {
 public:
  Server(std::shared_ptr<HttpCore> core, tcp::acceptor acceptor)
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
        const auto connection = std::make_shared<HttpConnection>(core_, std::move(socket));
        if (has_room) {
          connection->Start();
        } else if (core_->tls) {
          connection->Close();
        } else {
          connection->Refuse();
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
      // A wait that was over when BeginStop cancelled it has no error.
      if (cancelled || core_->stops) return;
      for (HttpConnection* connection : core_->connections) connection->Ping();
      PingLater();
    });
  }

  std::vector<std::shared_ptr<HttpConnection>> Connections() const {
    std::vector<std::shared_ptr<HttpConnection>> connections;
    for (HttpConnection* connection : core_->connections) {
      if (auto shared = connection->weak_from_this().lock())
        connections.push_back(std::move(shared));
    }
    return connections;
  }

  void BeginStop() {
    core_->stops = true;
    error_code ignored;
    acceptor_.close(ignored);
    ping_timer_.cancel();
    accept_timer_.cancel();
    for (const auto& connection : Connections()) connection->BeginStop();
    stop_deadline_ = Clock::now() + core_->options.stop_grace;
    AwaitConnections();
  }

  // Those that wait for an answer hold no operation that would keep the thread running.
  void AwaitConnections() {
    const bool is_over = Clock::now() >= stop_deadline_;
    if (is_over) {
      for (const auto& connection : Connections()) connection->Close();
    }
    if (is_over || core_->connections.empty()) return;
    accept_timer_.expires_after(std::chrono::milliseconds(10));
    accept_timer_.async_wait([this](error_code) { AwaitConnections(); });
  }

  const std::shared_ptr<HttpCore> core_;
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

}  // namespace

Result<std::unique_ptr<HttpServer>> HttpServer::Listen(
    const HttpServerOptions& options, const Router& router, Access& access,
    std::function<void(const Exchange&)> observe) {
  INGOT_ASSIGN_OR_RETURN(const asio::ip::address address, ParseAddress(options.address));
  if (options.port < 0 || options.port > 65535) {
    return InvalidArgument("--port: expected a number from 0 to 65535, found {}", options.port);
  }
  auto core = std::make_shared<HttpCore>(options, router, access, std::move(observe));
  INGOT_ASSIGN_OR_RETURN(core->tls, LoadTls(options.tls_certfile, options.tls_keyfile));
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
