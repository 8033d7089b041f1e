// The server over a fake service, for load and schema tests: fake_server PORT [USER:PASSWORD [CERT
// KEY]].
#include <signal.h>

#include <cstdio>
#include <cstdlib>
#include <memory>
#include <mutex>
#include <stop_token>
#include <thread>
#include <vector>

#include "fake_job_service.h"
#include "server/router.h"
#include "server/serve.h"

namespace {

using ingot::Json;
using namespace ingot::server;

std::mutex streams_mutex;
std::vector<std::shared_ptr<EventStream>> streams;  // idle until they are closed

// A cheap route, an idle stream, and one with every type of field.
void AddTestRoutes(Router& router) {
  router.Add({.method = "GET",
              .pattern = "/test/cheap",
              .summary = "A cheap route",
              .handler =
                  [](const Request&, const Json&, const ResponderPtr& responder) {
                    responder->Send(JsonResponse({{"progress", 0.0}}));
                  },
              .may_block = false});
  router.Add({.method = "GET",
              .pattern = "/test/events",
              .summary = "An idle stream",
              .handler =
                  [](const Request&, const Json&, const ResponderPtr& responder) {
                    const std::lock_guard lock(streams_mutex);
                    streams.push_back(responder->Stream({}, nullptr));
                  },
              .may_block = false});
  const Schema all = {
      .name = "All",
      .fields = {{.name = "text", .type = FieldType::kString, .max_length = 100},
                 {.name = "whole", .type = FieldType::kInteger, .minimum = 1, .maximum = 9},
                 {.name = "number", .type = FieldType::kNumber, .minimum = -0.5},
                 {.name = "flag", .type = FieldType::kBoolean, .default_value = false},
                 {.name = "list", .type = FieldType::kArray, .items = FieldType::kString},
                 {.name = "object", .type = FieldType::kObject},
                 {.name = "choice", .type = FieldType::kString, .choices = {"a", "b"}}}};
  router.Add({.method = "POST",
              .pattern = "/test/all/{id}",
              .summary = "Every type of field",
              .body = all,
              .query = Schema{.name = "AllQuery",
                              .fields = {{.name = "limit",
                                          .type = FieldType::kInteger,
                                          .default_value = 50,
                                          .minimum = 1,
                                          .maximum = 100}}},
              .answer = all,
              .handler = [](const Request&, const Json& body, const ResponderPtr& responder) {
                responder->Send(JsonResponse(body));
              }});
}

}  // namespace

int main(int argc, char** argv) {
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGINT);
  sigaddset(&signals, SIGTERM);
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  std::stop_source stop;
  std::thread waiter([&] {
    int signal = 0;
    sigwait(&signals, &signal);
    stop.request_stop();
  });
  ingot::server::FakeJobService jobs;
  const ingot::Status status = ingot::server::ServeJobs(
      {.port = argc > 1 ? std::atoi(argv[1]) : 0,
       .api_auth = argc > 2 ? argv[2] : "",
       .tls_certfile = argc > 4 ? argv[3] : "",
       .tls_keyfile = argc > 4 ? argv[4] : "",
       .log_level = ingot::server::LogLevel::kWarning},
      jobs, stop.get_token(),
      [](const std::string& url) {
        std::printf("%s\n", url.c_str());
        std::fflush(stdout);
      },
      AddTestRoutes);
  if (!status.ok()) {
    std::fprintf(stderr, "%s\n", status.message().c_str());
    std::_Exit(1);
  }
  waiter.join();
  return 0;
}
