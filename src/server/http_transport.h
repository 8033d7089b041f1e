// A connection's bytes, with or without TLS.
#pragma once

#include <utility>  // Boost 1.74 uses it and does not include it

#include <boost/asio.hpp>
#include <boost/asio/ssl.hpp>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <vector>

#include "base/status.h"

namespace ingot::server {

// All calls are made, and all callbacks run, on the socket's I/O thread. One read and one write
// may be under way at a time; their buffers live until the callback.
class Transport {
 public:
  using ErrorCode = boost::system::error_code;
  using Done = std::function<void(ErrorCode, size_t)>;

  virtual ~Transport() = default;
  // `done` has an error where the client does not speak TLS, or no version and cipher in common.
  virtual void Handshake(std::function<void(ErrorCode)> done) = 0;
  virtual void Read(boost::asio::mutable_buffer to, Done done) = 0;  // some bytes
  virtual void Write(const std::vector<boost::asio::const_buffer>& from, Done done) = 0;  // all
  // Tells the client that nothing follows. With TLS it waits for the client's own end, which may
  // never come: the caller sets a deadline.
  virtual void ShutdownSend(std::function<void()> done) = 0;
  virtual boost::asio::ip::tcp::socket& socket() = 0;
};

// The certificate chain and key of a server, TLS 1.2 and newer; nothing when both paths are empty.
// kInvalidArgument: one of them alone, a file that cannot be read or is no PEM, a key of another
// certificate.
Result<std::optional<boost::asio::ssl::context>> LoadTls(const std::filesystem::path& certfile,
                                                         const std::filesystem::path& keyfile);

// `tls` outlives the transport; unset: plain bytes.
std::unique_ptr<Transport> MakeTransport(boost::asio::ip::tcp::socket socket,
                                         std::optional<boost::asio::ssl::context>& tls);

}  // namespace ingot::server
