// What all connections of a server share.
#pragma once

#include <utility>  // Boost 1.74 uses it and does not include it

#include <atomic>
#include <boost/asio.hpp>
#include <boost/asio/ssl.hpp>
#include <functional>
#include <optional>
#include <unordered_set>

#include "server/http_server.h"

namespace ingot::server {

class HttpConnection;

// Lives as long as the last connection, or the last handler that has yet to answer one.
struct HttpCore {
  HttpCore(const HttpServerOptions& server_options, const Router& table, Access& gate,
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
  boost::asio::io_context io{1};
  boost::asio::thread_pool pool;
  std::optional<boost::asio::ssl::context> tls;
  std::atomic<size_t> num_connections = 0, num_streams = 0;
  std::atomic<bool> stops = false;      // no new requests
  std::atomic<bool> has_ended = false;  // the I/O thread runs no more

  // Of the I/O thread alone.
  std::unordered_set<HttpConnection*> connections;
  size_t bodies_bytes = 0;  // reserved by requests that are being read
};

}  // namespace ingot::server
