// The listener over real sockets: what clients of Forge send, and what attackers do.
#include "server/http_server.h"
#include "fake_job_service.h"

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <condition_variable>
#include <future>

#include "server/metrics.h"
#include "server/openapi.h"
#include "server/routes.h"

namespace ingot::server {
namespace {

using namespace std::chrono_literals;
using namespace std::string_literals;

// A connection that says what it likes.
class Client {
 public:
  explicit Client(int port) : socket_(::socket(AF_INET, SOCK_STREAM, 0)) {
    sockaddr_in address = {};
    address.sin_family = AF_INET;
    address.sin_port = htons(static_cast<uint16_t>(port));
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    const timeval timeout = {.tv_sec = 10, .tv_usec = 0};
    setsockopt(socket_, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof timeout);
    EXPECT_EQ(connect(socket_, reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
  }
  ~Client() { Close(); }
  Client(const Client&) = delete;
  Client& operator=(const Client&) = delete;

  void Send(std::string_view text) {
    (void)!::send(socket_, text.data(), text.size(), MSG_NOSIGNAL);
  }
  void EndSending() { shutdown(socket_, SHUT_WR); }
  void Close() {
    if (socket_ >= 0) close(socket_);
    socket_ = -1;
  }
  // Until `mark` has come; else what came before the end.
  std::string ReadUntil(std::string_view mark) {
    while (inbox_.find(mark) == std::string::npos) {
      char buffer[4096];
      const ssize_t n = recv(socket_, buffer, sizeof buffer, 0);
      if (n <= 0) return std::exchange(inbox_, {});
      inbox_.append(buffer, static_cast<size_t>(n));
    }
    const size_t end = inbox_.find(mark) + mark.size();
    std::string text = inbox_.substr(0, end);
    inbox_.erase(0, end);
    return text;
  }
  std::string ReadAll() { return ReadUntil("\1never\1"); }
  // One answer with Content-Length: head and body.
  std::string ReadAnswer() {
    std::string head = ReadUntil("\r\n\r\n");
    const size_t at = head.find("Content-Length: ");
    if (at == std::string::npos) return head;
    size_t size = std::stoul(head.substr(at + 16));
    while (inbox_.size() < size) {
      char buffer[4096];
      const ssize_t n = recv(socket_, buffer, sizeof buffer, 0);
      if (n <= 0) break;
      inbox_.append(buffer, static_cast<size_t>(n));
    }
    size = std::min(size, inbox_.size());
    head += inbox_.substr(0, size);
    inbox_.erase(0, size);
    return head;
  }

 private:
  int socket_;
  std::string inbox_;
};

int StatusOf(const std::string& answer) {
  return answer.size() > 12 ? std::atoi(answer.c_str() + 9) : 0;
}
std::string BodyOf(const std::string& answer) {
  const size_t at = answer.find("\r\n\r\n");
  return at == std::string::npos ? "" : answer.substr(at + 4);
}

// Waits for what another thread does.
class Event {
 public:
  void Set() {
    const std::lock_guard lock(mutex_);
    is_set_ = true;
    wake_.notify_all();
  }
  bool Wait() {
    std::unique_lock lock(mutex_);
    return wake_.wait_for(lock, 10s, [&] { return is_set_; });
  }

 private:
  std::mutex mutex_;
  std::condition_variable wake_;
  bool is_set_ = false;
};

class HttpServerTest : public testing::Test {
 protected:
  void Start(ServeOptions serve = {}, HttpServerOptions options = {}) {
    Result<std::unique_ptr<Access>> access = Access::Create(serve);
    ASSERT_TRUE(access.ok()) << access.status().message();
    access_ = *std::move(access);
    router_.Add(
        {.method = "POST",
         .pattern = "/echo",
         .body =
             Schema{
                 .name = "Echo",
                 .fields = {{.name = "text", .type = FieldType::kString, .max_length = 1 << 26}}},
         .handler = [](const Request&, const Json& body, const ResponderPtr& responder) {
           responder->Send(JsonResponse(body));
         }});
    router_.Add({.method = "POST",
                 .pattern = "/ask",
                 .handler =
                     [](const Request& request, const Json&, const ResponderPtr& responder) {
                       responder->Send(JsonResponse({{"client", request.client}}));
                     },
                 .changes_state = false});
    router_.Add({.method = "GET",
                 .pattern = "/where/{id}",
                 .handler =
                     [](const Request& request, const Json&, const ResponderPtr& responder) {
                       responder->Send(JsonResponse({{"id", request.params.at("id")},
                                                     {"query", request.query},
                                                     {"origin", request.origin},
                                                     {"client", request.client}}));
                     },
                 .may_block = false});
    router_.Add({.method = "POST",
                 .pattern = "/slow",
                 .handler = [this](const Request&, const Json&, const ResponderPtr& responder) {
                   responder->OnDisconnect([this] { gone_.Set(); });
                   const std::lock_guard lock(mutex_);
                   waiting_.push_back(responder);
                   asked_.Set();
                 }});
    router_.Add({.method = "GET",
                 .pattern = "/events",
                 .handler = [this](const Request&, const Json&, const ResponderPtr& responder) {
                   auto stream = responder->Stream({}, [this] { gone_.Set(); });
                   const std::lock_guard lock(mutex_);
                   streams_.push_back(std::move(stream));
                   asked_.Set();
                 }});
    router_.Add({.method = "GET",
                 .pattern = "/forgets",
                 .handler = [](const Request&, const Json&, const ResponderPtr&) {}});
    AddOperationsRoutes(router_, jobs_, serve, metrics_, [] { return HttpCounts(); });
    options.tls_certfile = serve.tls_certfile;
    Result<std::unique_ptr<HttpServer>> server =
        HttpServer::Listen(options, router_, *access_, [this](const Exchange& exchange) {
          metrics_.Count(exchange);
          const std::lock_guard lock(mutex_);
          log_ += LogLine(exchange) + "\n";
        });
    ASSERT_TRUE(server.ok()) << server.status().message();
    server_ = *std::move(server);
    host_ = fmt::format("Host: 127.0.0.1:{}\r\n", server_->port());
  }

  // An answer to `text`, which ends its connection by itself or is cut after the first answer.
  std::string Ask(const std::string& text) {
    Client client(server_->port());
    client.Send(text);
    return client.ReadAnswer();
  }
  std::string Get(const std::string& target, const std::string& headers = "") {
    return Ask("GET " + target + " HTTP/1.1\r\n" + host_ + headers + "\r\n");
  }
  std::string Post(const std::string& target, const std::string& body,
                   const std::string& headers = "") {
    return Ask("POST " + target + " HTTP/1.1\r\n" + host_ + headers +
               fmt::format("Content-Length: {}\r\n\r\n", body.size()) + body);
  }

  FakeJobService jobs_;
  Metrics metrics_;
  std::mutex mutex_;
  std::vector<ResponderPtr> waiting_;
  std::vector<std::shared_ptr<EventStream>> streams_;
  std::string log_;
  Event asked_, gone_;
  Router router_;
  std::unique_ptr<Access> access_;
  std::string host_;
  std::unique_ptr<HttpServer> server_;
};

TEST_F(HttpServerTest, TargetsAreDecodedAndTrailingMarksAreNothing) {
  Start();
  const Json answer = Json::parse(BodyOf(Get("/where/a%20b/?x=1+2&y=%C3%A4&x=3")));
  EXPECT_EQ(answer["id"], "a b");
  EXPECT_EQ(answer["query"], (Json{{"x", "3"}, {"y", "ä"}}));
  EXPECT_EQ(StatusOf(Get("/where/a?")), 200);
  EXPECT_EQ(StatusOf(Get("http://127.0.0.1/where/a")), 200);
  EXPECT_EQ(answer["client"], "127.0.0.1");
  EXPECT_EQ(answer["origin"], fmt::format("http://127.0.0.1:{}", server_->port()));
}

TEST_F(HttpServerTest, NothingIsServedFromAnotherPlace) {
  Start();
  for (const char* target :
       {"/../etc/passwd", "/docs/../../etc/passwd", "/docs/%2e%2e/%2e%2e/etc",
        "/where/..%2f..%2fetc", "/docs//page.js", "/DOCS", "/docs/page.js/x"}) {
    EXPECT_EQ(BodyOf(Get(target)), "{\"detail\":\"Not Found\"}") << target;
  }
}

TEST_F(HttpServerTest, WrongTargetsAre400) {
  Start();
  for (const char* target : {"/%", "/%g1", "/a%00b", "/%ff", "/a?x=%ff", "/%c0%af", "nothing",
                             "/%ed%a0%80", "/a%0d%0ab"}) {
    EXPECT_EQ(StatusOf(Get(target)), 400) << target;
  }
}

TEST_F(HttpServerTest, BodiesNeedNoTypeAndMayBeNothing) {
  Start();
  EXPECT_EQ(BodyOf(Post("/echo", "{\"text\":\"x\"}")), "{\"text\":\"x\"}");
  EXPECT_EQ(BodyOf(Post("/echo", "\"\"")), "{}");
  EXPECT_EQ(BodyOf(Post("/echo/", "")), "{}");
  EXPECT_EQ(BodyOf(Ask("POST /echo HTTP/1.1\r\n" + host_ + "\r\n")), "{}");
}

TEST_F(HttpServerTest, HeadIsGetWithoutItsBody) {
  Start();
  const std::string answer = [&] {
    Client client(server_->port());
    client.Send("HEAD /where/a HTTP/1.1\r\n" + host_ + "Connection: close\r\n\r\n");
    return client.ReadAll();
  }();
  EXPECT_EQ(StatusOf(answer), 200);
  EXPECT_EQ(BodyOf(answer), "");
  EXPECT_EQ(answer.find("Content-Length: 0"), std::string::npos);
}

TEST_F(HttpServerTest, PipelinedRequestsAreAnsweredInOrder) {
  Start();
  Client client(server_->port());
  std::string text;
  for (int i = 0; i < 200; ++i) text += fmt::format("GET /where/{} HTTP/1.1\r\n{}\r\n", i, host_);
  client.Send(text);
  for (int i = 0; i < 200; ++i) {
    EXPECT_EQ(Json::parse(BodyOf(client.ReadAnswer()))["id"], std::to_string(i));
  }
}

TEST_F(HttpServerTest, ChunkedBodiesAreRead) {
  Start();
  Client client(server_->port());
  client.Send("POST /echo HTTP/1.1\r\n" + host_ +
              "Transfer-Encoding: chunked\r\n\r\n4\r\n{\"te\r\n");
  client.Send("8;x=y\r\nxt\":\"a\"}\r\n0\r\n\r\nGET /where/7 HTTP/1.1\r\n" + host_ + "\r\n");
  EXPECT_EQ(BodyOf(client.ReadAnswer()), "{\"text\":\"a\"}");
  EXPECT_EQ(Json::parse(BodyOf(client.ReadAnswer()))["id"], "7");
}

TEST_F(HttpServerTest, TwoReadingsOfALengthAreRefused) {
  Start();
  for (const char* headers :
       {"Content-Length: 2\r\nContent-Length: 3\r\n", "Content-Length: 2\r\nContent-Length: 2\r\n",
        "Content-Length: 2\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked\r\nContent-Length: 2\r\n", "Content-Length: -1\r\n",
        "Content-Length: 2, 2\r\n", "Content-Length: 0x2\r\n",
        "Content-Length: 99999999999999999999\r\n", "Transfer-Encoding: gzip\r\n",
        "Transfer-Encoding: chunked, chunked\r\n", "Transfer-Encoding: xchunked\r\n",
        "Transfer-Encoding : chunked\r\n", "Host: evil\r\n"}) {
    Client client(server_->port());
    client.Send("POST /echo HTTP/1.1\r\n" + host_ + headers + "\r\n{}GET /where/1 HTTP/1.1\r\n" +
                host_ + "\r\n");
    client.EndSending();
    const std::string answers = client.ReadAll();
    EXPECT_GE(StatusOf(answers), 400) << headers;
    EXPECT_EQ(answers.find("HTTP/1.1 200"), std::string::npos) << headers;
    EXPECT_NE(answers.find("Connection: close"), std::string::npos) << headers;
  }
}

TEST_F(HttpServerTest, WrongChunksAreRefused) {
  Start();
  for (const char* body : {"zz\r\n{}\r\n0\r\n\r\n", "-2\r\n{}\r\n0\r\n\r\n", "2\r\n{}XX0\r\n\r\n",
                           "ffffffffffffffffff\r\n{}", "2\n{}\n0\n\n"}) {
    Client client(server_->port());
    client.Send("POST /echo HTTP/1.1\r\n" + host_ + "Transfer-Encoding: chunked\r\n\r\n" + body);
    client.EndSending();
    const std::string answer = client.ReadAll();
    EXPECT_TRUE(answer.empty() || StatusOf(answer) == 400 || StatusOf(answer) == 413) << answer;
  }
}

TEST_F(HttpServerTest, LargeBodiesAre413BeforeTheyAreRead) {
  Start({}, {.max_body_bytes = 1000});
  EXPECT_EQ(StatusOf(Post("/echo", std::string(1001, ' '))), 413);
  EXPECT_EQ(StatusOf(Post("/echo", std::string(1000, ' '))), 200);
  EXPECT_EQ(StatusOf(Ask("POST /echo HTTP/1.1\r\n" + host_ +
                         "Transfer-Encoding: chunked\r\n\r\n800\r\n" + std::string(0x800, ' '))),
            413);
  EXPECT_EQ(StatusOf(Ask("POST /echo HTTP/1.1\r\n" + host_ + "Content-Length: 4000000000\r\n\r\n")),
            413);
}

TEST_F(HttpServerTest, BodiesOf63MiBPass) {
  Start();
  const std::string text(63 << 20, 'x');
  EXPECT_EQ(BodyOf(Post("/echo", "{\"text\":\"" + text + "\"}")).size(), text.size() + 11);
}

TEST_F(HttpServerTest, AllBodiesTogetherAreBounded) {
  Start({}, {.max_body_bytes = 1000, .max_bodies_bytes = 1500});
  Client first(server_->port());
  first.Send("POST /echo HTTP/1.1\r\n" + host_ + "Content-Length: 1000\r\n\r\n ");
  // The first is being read when the answer to another request of the same thread has come.
  EXPECT_EQ(StatusOf(Get("/where/1")), 200);
  EXPECT_EQ(StatusOf(Post("/echo", std::string(600, ' '))), 503);
  first.Send(std::string(999, ' '));
  EXPECT_EQ(StatusOf(first.ReadAnswer()), 200);
  EXPECT_EQ(StatusOf(Post("/echo", std::string(600, ' '))), 200);
}

TEST_F(HttpServerTest, LargeHeadersAre431) {
  Start();
  EXPECT_EQ(StatusOf(Get("/where/1", fmt::format("X: {:x>40000}\r\n", ""))), 431);
  EXPECT_EQ(StatusOf(Get(fmt::format("/{:x>40000}", ""))), 431);
  EXPECT_EQ(StatusOf(Get("/where/1", fmt::format("X: {:x>20000}\r\n", ""))), 200);
}

TEST_F(HttpServerTest, SlowHeadersAndBodiesAreCutOff) {
  Start({}, {.header_timeout = 200ms, .transfer_timeout = 200ms});
  Client header(server_->port()), body(server_->port()), silent(server_->port());
  const auto begin = std::chrono::steady_clock::now();
  body.Send("POST /echo HTTP/1.1\r\n" + host_ + "Content-Length: 1000\r\n\r\n");
  std::atomic<bool> ends = false;
  std::thread drip([&] {
    while (!ends) {
      header.Send("G");
      body.Send(" ");
      std::this_thread::sleep_for(20ms);
    }
  });
  EXPECT_EQ(StatusOf(header.ReadAll()), 408);
  EXPECT_EQ(StatusOf(body.ReadAll()), 408);
  EXPECT_EQ(silent.ReadAll(), "");
  EXPECT_LT(std::chrono::steady_clock::now() - begin, 5s);
  ends = true;
  drip.join();
}

TEST_F(HttpServerTest, IdleConnectionsEnd) {
  Start({}, {.idle_timeout = 100ms});
  Client client(server_->port());
  client.Send("GET /where/1 HTTP/1.1\r\n" + host_ + "\r\n");
  EXPECT_EQ(StatusOf(client.ReadAnswer()), 200);
  EXPECT_EQ(client.ReadAll(), "");
}

TEST_F(HttpServerTest, WhatIsNoHttpIs400) {
  Start();
  for (const std::string& text :
       {"\r\n\r\n"s, "hello\r\n\r\n"s, "GET\r\n\r\n"s, "GET / HTTP/9.9\r\n\r\n"s,
        "GET / HTTP/1.1\r\n\r\n"s, "GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nA\r\n\r\n"s,
        "GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nA: \x01\r\n\r\n"s, "\x16\x03\x01\x02\x00\r\n\r\n"s,
        "CONNECT evil:80 HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"s}) {
    Client client(server_->port());
    client.Send(text);
    client.EndSending();
    const std::string answer = client.ReadAll();
    EXPECT_TRUE(answer.empty() || StatusOf(answer) == 400 || StatusOf(answer) == 505) << answer;
  }
}

TEST_F(HttpServerTest, AnAnswerMayComeLaterAndFromAnyThread) {
  Start();
  Client client(server_->port());
  client.Send("POST /slow HTTP/1.1\r\n" + host_ +
              "Content-Length: 0\r\n\r\nGET /where/9 HTTP/1.1\r\n" + host_ + "\r\n");
  ASSERT_TRUE(asked_.Wait());
  waiting_.at(0)->Send(JsonResponse("late"));
  waiting_.at(0)->Send(JsonResponse("twice"));
  EXPECT_EQ(BodyOf(client.ReadAnswer()), "\"late\"");
  EXPECT_EQ(Json::parse(BodyOf(client.ReadAnswer()))["id"], "9");
}

TEST_F(HttpServerTest, AHandlerHearsThatItsClientHasGone) {
  Start();
  {
    Client client(server_->port());
    client.Send("POST /slow HTTP/1.1\r\n" + host_ + "Content-Length: 0\r\n\r\n");
    ASSERT_TRUE(asked_.Wait());
  }
  EXPECT_TRUE(gone_.Wait());
  waiting_.at(0)->Send(JsonResponse("nobody"));
}

TEST_F(HttpServerTest, AHandlerThatForgetsToAnswerIs500) {
  Start();
  EXPECT_EQ(StatusOf(Get("/forgets")), 500);
}

TEST_F(HttpServerTest, EventsComeAsTheyAreSent) {
  Start({}, {.ping_interval = 50ms});
  Client client(server_->port());
  client.Send("GET /events HTTP/1.1\r\n" + host_ + "\r\n");
  ASSERT_TRUE(asked_.Wait());
  EXPECT_NE(client.ReadUntil("\r\n\r\n").find("Content-Type: text/event-stream"),
            std::string::npos);
  streams_.at(0)->Send("7", "step", "one\ntwo");
  EXPECT_NE(client.ReadUntil("two\n\n").find("id: 7\nevent: step\ndata: one\ndata: two\n\n"),
            std::string::npos);
  EXPECT_NE(client.ReadUntil(": ping\n\n"), "");
  streams_.at(0)->Close();
  EXPECT_TRUE(client.ReadAll().ends_with("0\r\n\r\n"));
  EXPECT_TRUE(gone_.Wait());
}

TEST_F(HttpServerTest, AStreamEndsWithItsClient) {
  Start();
  {
    Client client(server_->port());
    client.Send("GET /events HTTP/1.1\r\n" + host_ + "\r\n");
    ASSERT_TRUE(asked_.Wait());
  }
  EXPECT_TRUE(gone_.Wait());
  streams_.at(0)->Send("1", "late", "");
  EXPECT_EQ(server_->counts().num_streams, 0u);
}

TEST_F(HttpServerTest, AClientThatTakesNoEventsIsCutOff) {
  Start({}, {.max_event_bytes = 100'000});
  Client client(server_->port());
  client.Send("GET /events HTTP/1.1\r\n" + host_ + "\r\n");
  ASSERT_TRUE(asked_.Wait());
  const std::string data(50'000, 'x');
  for (int i = 0; i < 400; ++i) streams_.at(0)->Send("", "step", data);
  EXPECT_TRUE(gone_.Wait());
}

TEST_F(HttpServerTest, StoppingEndsStreamsAndWaitsForAnswers) {
  Start();
  Client events(server_->port()), slow(server_->port());
  slow.Send("POST /slow HTTP/1.1\r\n" + host_ + "Content-Length: 0\r\n\r\n");
  ASSERT_TRUE(asked_.Wait());
  events.Send("GET /events HTTP/1.1\r\n" + host_ + "\r\n");
  events.ReadUntil("\r\n\r\n");
  std::thread answer([&] {
    std::this_thread::sleep_for(100ms);
    waiting_.at(0)->Send(JsonResponse("in time"));
  });
  server_.reset();
  answer.join();
  EXPECT_EQ(BodyOf(slow.ReadAnswer()), "\"in time\"");
  events.ReadAll();
}

TEST_F(HttpServerTest, StoppingDoesNotWaitForAPicture) {
  Start({}, {.stop_grace = 100ms});
  Client client(server_->port());
  client.Send("POST /slow HTTP/1.1\r\n" + host_ + "Content-Length: 0\r\n\r\n");
  ASSERT_TRUE(asked_.Wait());
  server_.reset();
  waiting_.clear();
}

TEST_F(HttpServerTest, StoppingEndsAServerWhosePingIsDue) {
  for (int i = 0; i < 50; ++i) {
    const HttpServerOptions options = {.ping_interval = std::chrono::milliseconds::zero()};
    const std::unique_ptr<Access> access = *Access::Create({});
    Result<std::unique_ptr<HttpServer>> server =
        HttpServer::Listen(options, router_, *access, nullptr);
    ASSERT_TRUE(server.ok()) << server.status().message();
    std::this_thread::sleep_for(1ms);
    // Ends here.
  }
}

TEST_F(HttpServerTest, APortInUseIsTold) {
  Start();
  Router router;
  const Result<std::unique_ptr<HttpServer>> second =
      HttpServer::Listen({.port = server_->port()}, router, *access_, nullptr);
  ASSERT_FALSE(second.ok());
  EXPECT_EQ(second.status().code(), StatusCode::kUnavailable);
}

TEST_F(HttpServerTest, HostsThatAreNotOursAreRefused) {
  Start({.allowed_hosts = {"ingot.example"}});
  const auto ask = [&](const std::string& host) {
    return StatusOf(Ask("GET /healthz HTTP/1.1\r\nHost: " + host + "\r\n\r\n"));
  };
  for (const char* host : {"localhost", "localhost:7860", "LOCALHOST.", "127.0.0.1", "127.0.0.1:1",
                           "[::1]:7860", "ingot.example:80"}) {
    EXPECT_EQ(ask(host), 200) << host;
  }
  for (const char* host : {"evil.example", "evil.example:7860", "localhost.evil.example",
                           "127.0.0.1.evil.example", "192.168.0.1", "ingot.example.evil"}) {
    EXPECT_EQ(ask(host), 403) << host;
  }
}

TEST_F(HttpServerTest, PagesOfOtherOriginsChangeNothing) {
  Start({.cors_allow_origins = {"https://lite.koboldai.net"}});
  const auto post = [&](const std::string& target, const std::string& origin) {
    return Post(target, "{}", "Origin: " + origin + "\r\n");
  };
  EXPECT_EQ(StatusOf(post("/echo", "https://evil.example")), 403);
  EXPECT_EQ(StatusOf(post("/echo", "null")), 403);
  EXPECT_EQ(StatusOf(post("/echo", "http://127.0.0.1:1")), 403);
  EXPECT_EQ(StatusOf(post("/echo", server_->url())), 200);
  EXPECT_EQ(StatusOf(post("/ask", "https://evil.example")), 200);
  EXPECT_EQ(StatusOf(Post("/echo", "{}")), 200);
  const std::string listed = post("/echo", "https://lite.koboldai.net");
  EXPECT_EQ(StatusOf(listed), 200);
  EXPECT_NE(listed.find("Access-Control-Allow-Origin: https://lite.koboldai.net\r\n"),
            std::string::npos);
  EXPECT_EQ(post("/ask", "https://evil.example").find("Access-Control"), std::string::npos);
}

TEST_F(HttpServerTest, PreflightsAreAnsweredOnEveryPath) {
  Start({.api_auth = "ann:secret", .cors_allow_origins = {"https://lite.koboldai.net"}});
  const auto ask = [&](const std::string& path, const std::string& origin) {
    return Ask("OPTIONS " + path + " HTTP/1.1\r\n" + host_ + "Origin: " + origin +
               "\r\nAccess-Control-Request-Method: POST\r\nAccess-Control-Request-Headers: "
               "authorization\r\nAccess-Control-Request-Private-Network: true\r\n\r\n");
  };
  const std::string answer = ask("/echo", "https://lite.koboldai.net");
  EXPECT_EQ(StatusOf(answer), 204);
  for (const char* header : {"Access-Control-Allow-Methods: POST",
                             "Access-Control-Allow-Headers: "
                             "authorization",
                             "Access-Control-Allow-Private-Network: true"}) {
    EXPECT_NE(answer.find(header), std::string::npos) << header;
  }
  EXPECT_EQ(StatusOf(ask("/nowhere", "https://lite.koboldai.net")), 204);
  EXPECT_EQ(StatusOf(ask("*", "https://evil.example")), 204);
  EXPECT_EQ(ask("/echo", "https://evil.example").find("Access-Control"), std::string::npos);
}

TEST_F(HttpServerTest, EveryRouteAsksForCredentials) {
  Start({.api_auth = "ann:secret,bob:p:w"});
  for (const Route& route : router_.routes()) {
    const std::string answer =
        Ask(route.method + " " + route.pattern + " HTTP/1.1\r\n" + host_ + "\r\n");
    EXPECT_EQ(StatusOf(answer), 401) << route.pattern;
    EXPECT_NE(answer.find("WWW-Authenticate: Basic\r\n"), std::string::npos);
    EXPECT_EQ(BodyOf(answer), "{\"detail\":\"Incorrect username or password\"}");
  }
  EXPECT_EQ(StatusOf(Get("/nowhere")), 401);
  const auto client = [&](const std::string& authorization) {
    const std::string answer = Get("/where/1", "Authorization: " + authorization + "\r\n");
    return StatusOf(answer) == 200 ? Json::parse(BodyOf(answer))["client"].get<std::string>() : "";
  };
  EXPECT_EQ(client("Basic YW5uOnNlY3JldA=="), "ann");
  EXPECT_EQ(client("basic Ym9iOnA6dw=="), "bob");
  EXPECT_EQ(client("Bearer secret"), "ann");
  EXPECT_EQ(client("Bearer bob:p:w"), "bob");
  for (const char* wrong : {"Basic c2VjcmV0", "Bearer ann", "Bearer ", "Basic", "Digest x"}) {
    EXPECT_EQ(client(wrong), "") << wrong;
  }
  EXPECT_EQ(log_.find("secret"), std::string::npos);
  EXPECT_EQ(log_.find("YW5uOnNlY3JldA"), std::string::npos);
}

TEST_F(HttpServerTest, WithoutAuthAnyAuthorizationPasses) {
  Start();
  EXPECT_EQ(StatusOf(Get("/where/1", "Authorization: Basic junk!\r\n")), 200);
  EXPECT_EQ(StatusOf(Get("/where/1", "Authorization:\r\n")), 200);
}

TEST_F(HttpServerTest, WrongPasswordsAreCounted) {
  Start({.api_auth = "ann:secret"});
  for (int i = 0; i < kMaxFailedTries; ++i) {
    EXPECT_EQ(StatusOf(Get("/where/1", "Authorization: Bearer x\r\n")), 401);
  }
  const std::string answer = Get("/where/1", "Authorization: Bearer secret\r\n");
  EXPECT_EQ(StatusOf(answer), 429);
  EXPECT_NE(answer.find("Retry-After: "), std::string::npos);
}

TEST_F(HttpServerTest, AnswersTellBrowsersToBeCareful) {
  Start();
  const std::string api = Get("/where/1", "X-Request-Id: my-id.1\r\n");
  for (const char* header : {"X-Content-Type-Options: nosniff", "Cache-Control: no-store",
                             "X-Request-Id: my-id.1", "Content-Type: application/json"}) {
    EXPECT_NE(api.find(header), std::string::npos) << header;
  }
  EXPECT_NE(Get("/docs").find("Content-Security-Policy: default-src 'self'"), std::string::npos);
  EXPECT_EQ(Get("/docs", "X-Request-Id: a\tb\"\r\n").find("a\tb"), std::string::npos);
}

TEST_F(HttpServerTest, ALogLineHasNoQuery) {
  Start();
  Get("/where/1?token=hidden");
  const Json line = Json::parse(log_);
  EXPECT_EQ(line["path"], "/where/1");
  EXPECT_EQ(line["route"], "/where/{id}");
  EXPECT_EQ(line["status"], 200);
}

TEST_F(HttpServerTest, MetricsCountRequestsByRouteAndStatus) {
  Start();
  ServiceState state = {.num_queued = 3, .worker_alive = true, .num_done = 5};
  state.phase_s = {{"sampling", 1.5}};
  jobs_.state = state;
  Get("/where/1");
  Get("/where/2");
  Ask("HACK\x41 /docs HTTP/1.1\r\n" + host_ + "\r\n");
  const std::string text = BodyOf(Get("/metrics"));
  for (const char* line :
       {"\ningot_jobs_queued 3\n", "\ningot_jobs_total{outcome=\"done\"} 5\n",
        "\ningot_phase_seconds_total{phase=\"sampling\"} 1.5\n",
        "\ningot_http_requests_total{method=\"GET\",route=\"/where/{id}\",status=\"200\"} 2\n",
        "\ningot_http_request_seconds_count{route=\"/where/{id}\"} 2\n",
        "{method=\"other\",route=\"none\",status=\"405\"} 1\n"}) {
    EXPECT_NE(("\n" + text).find(line), std::string::npos) << line << text;
  }
}

TEST_F(HttpServerTest, HealthIs503WhenTheWorkerStaysDead) {
  Start();
  EXPECT_EQ(StatusOf(Get("/healthz")), 200);
  const auto now = std::chrono::steady_clock::now();
  metrics_.SetWorkerAlive(true, now - 60s);
  metrics_.SetWorkerAlive(false, now);
  EXPECT_EQ(StatusOf(Get("/healthz")), 503);
  metrics_.SetWorkerAlive(true, now);
  EXPECT_EQ(StatusOf(Get("/healthz")), 200);
}

TEST_F(HttpServerTest, OpenApiTellsEveryRoute) {
  Start();
  const Json json = Json::parse(BodyOf(Get("/openapi.json")));
  for (const Route& route : router_.routes()) {
    std::string method = route.method;
    for (char& c : method) c = static_cast<char>(std::tolower(c));
    EXPECT_TRUE(json["paths"][route.pattern].contains(method)) << route.pattern;
  }
  EXPECT_EQ(json["components"]["schemas"]["Echo"]["properties"]["text"]["type"],
            (Json{"string", "null"}));
}

TEST(AccessTest, OtherAddressesNeedAPasswordOrAWord) {
  EXPECT_FALSE(Access::Create({.address = "0.0.0.0"}).ok());
  EXPECT_TRUE(Access::Create({.address = "0.0.0.0", .is_insecure = true}).ok());
  EXPECT_TRUE(Access::Create({.address = "::", .api_auth = "ann:secret"}).ok());
  EXPECT_TRUE(Access::Create({.address = "::1"}).ok());
}

TEST(AccessTest, WrongFlagsAreToldWithoutTheirSecrets) {
  for (const char* auth : {"secret", "ann:", ":secret", "ann:x,secret"}) {
    const Status status = Access::Create({.api_auth = auth}).status();
    EXPECT_EQ(status.code(), StatusCode::kInvalidArgument);
    EXPECT_EQ(status.message().find("secret"), std::string::npos);
  }
  EXPECT_FALSE(Access::Create({.cors_allow_origins = {"*"}}).ok());
  EXPECT_FALSE(Access::Create({.cors_allow_origins = {"lite.koboldai.net"}}).ok());
}

}  // namespace
}  // namespace ingot::server
