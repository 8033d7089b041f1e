// The listener: HTTP/1.1 over TCP or TLS, for a table of routes.
//
// One thread moves all bytes; handlers that may block run on a small pool. A connection that waits,
// for its next request, for a picture or for events, costs no thread.
#pragma once

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>

#include "base/status.h"
#include "server/access.h"
#include "server/router.h"

namespace ingot::server {

struct HttpServerOptions {
  std::string address = "127.0.0.1";
  int port = 0;                                     // 0: any
  std::filesystem::path tls_certfile, tls_keyfile;  // both or none

  size_t max_body_bytes = 64 << 20;      // 413; several pictures of large canvases come in one body
  size_t max_bodies_bytes = 256 << 20;   // of all requests that are being read; 503
  uint32_t max_header_bytes = 32 << 10;  // 431
  size_t max_connections = 4096;         // 503
  size_t max_event_bytes = 4 << 20;      // that a client of a stream has not taken yet
  size_t num_handler_threads = 8;

  std::chrono::milliseconds header_timeout{15'000};  // from its first byte, or from connecting
  std::chrono::milliseconds idle_timeout{75'000};    // between requests
  // Bodies and answers: this, and a second for each 32 KiB.
  std::chrono::milliseconds transfer_timeout{30'000};
  std::chrono::milliseconds ping_interval{15'000};  // of event streams
  std::chrono::milliseconds stop_grace{3'000};      // for answers that are due when it stops
};

// One request that was answered.
struct Exchange {
  std::string id;      // X-Request-Id
  std::string method;  // as it came
  std::string path;    // without the query, which may hold what is nobody's business
  std::string route;   // pattern; empty: none
  std::string client, address;
  std::string job_id;  // X-Job-Id of the answer
  int status = 0;
  double seconds = 0;                  // from its last byte to the answer's first
  size_t bytes_in = 0, bytes_out = 0;  // of the bodies
};

struct HttpCounts {
  size_t num_connections = 0, num_streams = 0;  // now
};

class HttpServer {
 public:
  // Listens when it returns. `router` and `access` outlive the server; `observe` is called on its
  // thread and is quick. kUnavailable: the port is in use or may not be taken; kInvalidArgument: an
  // address that is none, a certificate that is not read.
  static Result<std::unique_ptr<HttpServer>> Listen(const HttpServerOptions& options,
                                                    const Router& router, Access& access,
                                                    std::function<void(const Exchange&)> observe);
  // Takes no more requests, waits for answers that are due as long as stop_grace, and for handlers
  // that run. Callbacks of OnDisconnect are not called for what it cuts off itself.
  virtual ~HttpServer() = default;

  virtual int port() const = 0;
  virtual std::string url() const = 0;  // "http://127.0.0.1:7860"
  virtual HttpCounts counts() const = 0;
};

}  // namespace ingot::server
