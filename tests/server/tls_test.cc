// HTTPS with a certificate of the test's own making.
#include <utility>  // Boost 1.74 uses it and does not include it

#include <gtest/gtest.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <unistd.h>

#include <boost/asio.hpp>
#include <boost/asio/ssl.hpp>
#include <filesystem>
#include <fstream>
#include <mutex>

#include "server/http_server.h"

namespace ingot::server {
namespace {

namespace asio = boost::asio;
using asio::ip::tcp;
using boost::system::error_code;
using namespace std::chrono_literals;
namespace fs = std::filesystem;

// A self-signed certificate for localhost and its key, as PEM.
class Certificate {
 public:
  explicit Certificate(const fs::path& folder)
      : certfile(folder / "cert.pem"), keyfile(folder / "key.pem") {
    const std::unique_ptr<EVP_PKEY, decltype(&EVP_PKEY_free)> key(EVP_EC_gen("P-256"),
                                                                  EVP_PKEY_free);
    const std::unique_ptr<X509, decltype(&X509_free)> x509(X509_new(), X509_free);
    ASN1_INTEGER_set(X509_get_serialNumber(x509.get()), 1);
    X509_gmtime_adj(X509_getm_notBefore(x509.get()), -3600);
    X509_gmtime_adj(X509_getm_notAfter(x509.get()), 3600);
    X509_set_pubkey(x509.get(), key.get());
    X509_NAME* name = X509_get_subject_name(x509.get());
    X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC,
                               reinterpret_cast<const unsigned char*>("localhost"), -1, -1, 0);
    X509_set_issuer_name(x509.get(), name);
    X509_sign(x509.get(), key.get(), EVP_sha256());
    Save(certfile, [&](FILE* file) { PEM_write_X509(file, x509.get()); });
    Save(keyfile, [&](FILE* file) {
      PEM_write_PrivateKey(file, key.get(), nullptr, nullptr, 0, nullptr, nullptr);
    });
  }
  const fs::path certfile, keyfile;

 private:
  template <typename Write>
  static void Save(const fs::path& path, Write write) {
    FILE* file = std::fopen(path.c_str(), "w");
    ASSERT_NE(file, nullptr);
    write(file);
    std::fclose(file);
  }
};

// A connection that trusts the one certificate and nothing else.
class TlsClient {
 public:
  TlsClient(int port, const fs::path& certfile) : stream_(io_, context_) {
    context_.load_verify_file(certfile.string());
    stream_.set_verify_mode(asio::ssl::verify_peer);
    stream_.next_layer().connect({asio::ip::address_v4::loopback(), static_cast<uint16_t>(port)});
    const timeval timeout = {.tv_sec = 10, .tv_usec = 0};
    setsockopt(stream_.next_layer().native_handle(), SOL_SOCKET, SO_RCVTIMEO, &timeout,
               sizeof timeout);
  }
  error_code Handshake() {
    error_code error;
    stream_.handshake(asio::ssl::stream_base::client, error);
    return error;
  }
  void SetMaxVersion(int version) { SSL_set_max_proto_version(stream_.native_handle(), version); }
  void Send(const std::string& text) { asio::write(stream_, asio::buffer(text)); }
  // Until `mark` has come; else what came before the end.
  std::string ReadUntil(std::string_view mark) {
    error_code error;
    while (inbox_.find(mark) == std::string::npos && !error) {
      char buffer[4096];
      inbox_.append(buffer, stream_.read_some(asio::buffer(buffer), error));
    }
    last_error_ = error;
    const size_t at = inbox_.find(mark);
    const size_t end = at == std::string::npos ? inbox_.size() : at + mark.size();
    std::string text = inbox_.substr(0, end);
    inbox_.erase(0, end);
    return text;
  }
  std::string ReadAll() { return ReadUntil("\1never\1"); }
  error_code last_error() const { return last_error_; }

 private:
  asio::io_context io_;
  asio::ssl::context context_{asio::ssl::context::tls_client};
  asio::ssl::stream<tcp::socket> stream_;
  std::string inbox_;
  error_code last_error_;
};

class TlsTest : public testing::Test {
 protected:
  void SetUp() override {
    fs::create_directories(folder_);
    certificate_.emplace(folder_);
    access_ = *Access::Create({});
    router_.Add({.method = "GET",
                 .pattern = "/origin",
                 .handler =
                     [](const Request& request, const Json&, const ResponderPtr& responder) {
                       responder->Send(JsonResponse(request.origin));
                     },
                 .may_block = false});
    router_.Add({.method = "POST",
                 .pattern = "/size",
                 .handler = [](const Request& request, const Json&, const ResponderPtr& responder) {
                   responder->Send(JsonResponse(request.body.size()));
                 }});
    router_.Add({.method = "GET",
                 .pattern = "/events",
                 .handler = [](const Request&, const Json&, const ResponderPtr& responder) {
                   const auto stream = responder->Stream({}, nullptr);
                   for (int i = 0; i < 3; ++i) stream->Send(std::to_string(i), "step", "{}");
                   stream->Close();
                 }});
  }
  void TearDown() override {
    server_.reset();
    fs::remove_all(folder_);
  }
  Status Listen(HttpServerOptions options) {
    Result<std::unique_ptr<HttpServer>> server =
        HttpServer::Listen(options, router_, *access_, nullptr);
    if (!server.ok()) return server.status();
    server_ = *std::move(server);
    return {};
  }
  void Start(HttpServerOptions options = {}) {
    options.tls_certfile = certificate_->certfile;
    options.tls_keyfile = certificate_->keyfile;
    const Status status = Listen(options);
    ASSERT_TRUE(status.ok()) << status.message();
  }
  std::string Get(TlsClient& client, const std::string& target) {
    client.Send("GET " + target + " HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    return client.ReadAll();
  }

  const fs::path folder_ = fs::temp_directory_path() / fmt::format("ingot-tls-{}", getpid());
  std::optional<Certificate> certificate_;
  Router router_;
  std::unique_ptr<Access> access_;
  std::unique_ptr<HttpServer> server_;
};

TEST_F(TlsTest, HttpsIsAnsweredAndEndsAsTlsDoes) {
  Start();
  EXPECT_TRUE(server_->url().starts_with("https://")) << server_->url();
  TlsClient client(server_->port(), certificate_->certfile);
  const error_code error = client.Handshake();
  ASSERT_FALSE(error) << error.message();
  const std::string answer = Get(client, "/origin");
  EXPECT_TRUE(answer.starts_with("HTTP/1.1 200 ")) << answer;
  EXPECT_TRUE(answer.ends_with("\"https://localhost\"")) << answer;
  // A cut would be told as one: "stream truncated".
  EXPECT_EQ(client.last_error(), asio::error::eof);
}

TEST_F(TlsTest, LargeBodiesComeWhole) {
  Start();
  TlsClient client(server_->port(), certificate_->certfile);
  ASSERT_FALSE(client.Handshake());
  client.Send("POST /size HTTP/1.1\r\nHost: localhost\r\nContent-Length: 8000000\r\n\r\n" +
              std::string(8'000'000, 'x'));
  EXPECT_TRUE(client.ReadUntil("8000000").ends_with("8000000"));
}

TEST_F(TlsTest, EventsComeOverTls) {
  Start();
  TlsClient client(server_->port(), certificate_->certfile);
  ASSERT_FALSE(client.Handshake());
  const std::string answer = Get(client, "/events");
  EXPECT_NE(answer.find("Content-Type: text/event-stream"), std::string::npos);
  EXPECT_NE(answer.find("id: 2\nevent: step\ndata: {}\n\n"), std::string::npos) << answer;
  EXPECT_TRUE(answer.ends_with("0\r\n\r\n")) << answer;
}

TEST_F(TlsTest, PlainHttpIsCutOffAndOthersAreServed) {
  Start();
  asio::io_context io;
  for (const std::string_view text :
       {"GET /origin HTTP/1.1\r\nHost: localhost\r\n\r\n", "\x16\x03\x01\xff\xffjunk", ""}) {
    tcp::socket plain(io);
    plain.connect({asio::ip::address_v4::loopback(), static_cast<uint16_t>(server_->port())});
    asio::write(plain, asio::buffer(text));
    plain.shutdown(tcp::socket::shutdown_send);
    std::string answer;
    error_code error;
    asio::read(plain, asio::dynamic_buffer(answer), error);
    EXPECT_EQ(answer.find("HTTP"), std::string::npos) << answer;
  }
  TlsClient client(server_->port(), certificate_->certfile);
  ASSERT_FALSE(client.Handshake());
  EXPECT_TRUE(Get(client, "/origin").starts_with("HTTP/1.1 200 "));
}

TEST_F(TlsTest, OldVersionsAreRefused) {
  Start();
  TlsClient client(server_->port(), certificate_->certfile);
  client.SetMaxVersion(TLS1_1_VERSION);
  EXPECT_TRUE(client.Handshake());
}

TEST_F(TlsTest, TooManyConnectionsAreCutOff) {
  Start({.max_connections = 1});
  TlsClient first(server_->port(), certificate_->certfile);
  ASSERT_FALSE(first.Handshake());
  TlsClient second(server_->port(), certificate_->certfile);
  EXPECT_TRUE(second.Handshake());
  EXPECT_TRUE(Get(first, "/origin").starts_with("HTTP/1.1 200 "));
}

TEST_F(TlsTest, StoppingDoesNotWaitForAClientThatSaysNothing) {
  Start({.stop_grace = 100ms});
  TlsClient silent(server_->port(), certificate_->certfile);
  TlsClient idle(server_->port(), certificate_->certfile);
  ASSERT_FALSE(idle.Handshake());
  const auto begin = std::chrono::steady_clock::now();
  server_.reset();
  EXPECT_LT(std::chrono::steady_clock::now() - begin, 2s);
}

TEST_F(TlsTest, WrongFilesAreToldByTheirFlag) {
  const fs::path junk = folder_ / "junk.pem", nowhere = folder_ / "nowhere.pem",
                 other_folder = folder_ / "other";
  std::ofstream(junk) << "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
  fs::create_directories(other_folder);
  const Certificate other(other_folder);
  const fs::path &cert = certificate_->certfile, &key = certificate_->keyfile;
  const struct {
    fs::path certfile, keyfile;
    std::string told;
  } cases[] = {{cert, {}, "--tls-certfile, --tls-keyfile: expected both"},
               {{}, key, "--tls-certfile, --tls-keyfile: expected both"},
               {nowhere, key, "--tls-certfile " + nowhere.string()},
               {junk, key, "--tls-certfile " + junk.string()},
               {key, key, "--tls-certfile " + key.string()},
               {cert, nowhere, "--tls-keyfile " + nowhere.string()},
               {cert, junk, "--tls-keyfile " + junk.string()},
               {cert, cert, "--tls-keyfile " + cert.string()},
               {cert, other.keyfile, "--tls-keyfile " + other.keyfile.string()},
               {folder_, key, "--tls-certfile " + folder_.string()}};
  for (const auto& [certfile, keyfile, told] : cases) {
    const Status status = Listen({.tls_certfile = certfile, .tls_keyfile = keyfile});
    EXPECT_EQ(status.code(), StatusCode::kInvalidArgument) << told;
    EXPECT_TRUE(status.message().starts_with(told)) << status.message();
    EXPECT_EQ(status.message().find('\n'), std::string::npos) << status.message();
  }
}

}  // namespace
}  // namespace ingot::server
