#include "server/http_transport.h"

namespace ingot::server {
namespace {

namespace asio = boost::asio;
using asio::ip::tcp;

class PlainTransport : public Transport {
 public:
  explicit PlainTransport(tcp::socket socket) : socket_(std::move(socket)) {}

  void Handshake(std::function<void(ErrorCode)> done) override { done({}); }
  void Read(asio::mutable_buffer to, Done done) override {
    socket_.async_read_some(to, std::move(done));
  }
  void Write(const std::vector<asio::const_buffer>& from, Done done) override {
    asio::async_write(socket_, from, std::move(done));
  }
  void ShutdownSend(std::function<void()> done) override {
    ErrorCode ignored;
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

  void Handshake(std::function<void(ErrorCode)> done) override {
    stream_.async_handshake(asio::ssl::stream_base::server, std::move(done));
  }
  void Read(asio::mutable_buffer to, Done done) override {
    stream_.async_read_some(to, std::move(done));
  }
  void Write(const std::vector<asio::const_buffer>& from, Done done) override {
    asio::async_write(stream_, from, std::move(done));
  }
  void ShutdownSend(std::function<void()> done) override {
    stream_.async_shutdown([done = std::move(done)](ErrorCode) { done(); });
  }
  tcp::socket& socket() override { return stream_.next_layer(); }

 private:
  asio::ssl::stream<tcp::socket> stream_;
};

}  // namespace

Result<std::optional<asio::ssl::context>> LoadTls(const std::filesystem::path& certfile,
                                                  const std::filesystem::path& keyfile) {
  std::optional<asio::ssl::context> tls;
  if (certfile.empty() && keyfile.empty()) return tls;
  if (certfile.empty() || keyfile.empty()) {
    return InvalidArgument("--tls-certfile, --tls-keyfile: expected both, found one");
  }
  tls.emplace(asio::ssl::context::tls_server);
  SSL_CTX_set_min_proto_version(tls->native_handle(), TLS1_2_VERSION);
  Transport::ErrorCode error;
  tls->use_certificate_chain_file(certfile.string(), error);
  if (error) {
    return InvalidArgument("--tls-certfile {}: expected a PEM chain, found: {}", certfile.string(),
                           error.message());
  }
  tls->use_private_key_file(keyfile.string(), asio::ssl::context::pem, error);
  if (error) {
    return InvalidArgument("--tls-keyfile {}: expected the certificate's PEM key, found: {}",
                           keyfile.string(), error.message());
  }
  return tls;
}

std::unique_ptr<Transport> MakeTransport(tcp::socket socket,
                                         std::optional<asio::ssl::context>& tls) {
  if (tls) return std::make_unique<TlsTransport>(std::move(socket), *tls);
  return std::make_unique<PlainTransport>(std::move(socket));
}

}  // namespace ingot::server
