// What those who run the server ask: whether it is well, what it has done, what it can.
#include "server/openapi.h"
#include "server/routes.h"

namespace ingot::server {
namespace {

constexpr double kDeadWorkerS = 30;  // a restart takes a second; several are tried

Response Health(JobService& jobs, const Metrics& metrics) {
  const ServiceState state = jobs.State();
  const double dead_s = metrics.WorkerDeadFor(std::chrono::steady_clock::now());
  const bool is_down = dead_s > kDeadWorkerS;
  return JsonResponse({{"status", is_down      ? "down"
                                  : dead_s > 0 ? "restarting"
                                               : "ok"},
                       {"worker_alive", state.worker_alive},
                       {"worker_dead_s", dead_s},
                       {"queued", state.num_queued},
                       {"running", state.running.has_value()}},
                      is_down ? 503 : 200);
}

}  // namespace

void AddOperationsRoutes(Router& router, JobService& jobs, const ServeOptions& options,
                         Metrics& metrics, std::function<HttpCounts()> counts) {
  router.Add({.method = "GET",
              .pattern = "/healthz",
              .summary = "200 while pictures can be made; 503 when the worker stays dead",
              .tag = "operations",
              .answer = Schema{.name = "Health",
                               .fields = {{.name = "status", .type = FieldType::kString},
                                          {.name = "worker_alive", .type = FieldType::kBoolean},
                                          {.name = "worker_dead_s", .type = FieldType::kNumber},
                                          {.name = "queued", .type = FieldType::kInteger},
                                          {.name = "running", .type = FieldType::kBoolean}}},
              .handler = [&](const Request&, const Json&, const ResponderPtr& responder) {
                responder->Send(Health(jobs, metrics));
              }});
  router.Add({.method = "GET",
              .pattern = "/metrics",
              .summary = "What the server has done, as Prometheus reads it",
              .tag = "operations",
              .handler = [&, counts = std::move(counts)](const Request&, const Json&,
                                                         const ResponderPtr& responder) {
                responder->Send({.content_type = "text/plain; version=0.0.4; charset=utf-8",
                                 .body = metrics.Text(jobs.State(), jobs.Memory(), counts())});
              }});
  AddDocumentationRoutes(router, !options.api_auth.empty());
}

}  // namespace ingot::server
