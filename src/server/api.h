// What the groups of routes share, and the groups.
#pragma once

#include <map>
#include <memory>
#include <string>

#include "jobs/job_service.h"
#include "server/job_waiter.h"
#include "server/model_catalog.h"
#include "server/options.h"
#include "server/router.h"
#include "server/serve.h"

namespace ingot::server {

// Thread-safe, as all of its parts.
struct Api {
  Api(JobService& service, ServeOptions serve_options)
      : jobs(service),
        serve(std::move(serve_options)),
        models(service, serve.models_dir.string()),
        options(service, models),
        hashes(service.Subscribe("", 0,
                                 [this](const JobEvent& event) {
                                   if (event.type == "hashed") models.Forget();
                                 })),
        waiter(service) {}

  JobService& jobs;
  const ServeOptions serve;
  ModelCatalog models;
  OptionStore options;
  const std::unique_ptr<Subscription> hashes;  // a title has its file's hash
  JobWaiter waiter;                            // last: its thread uses the others
};
using ApiPtr = std::shared_ptr<Api>;

void AddSdapiRoutes(Router& router, const ApiPtr& api);     // generation, options, lists
void AddProgressRoutes(Router& router, const ApiPtr& api);  // /sdapi/v1/progress, /internal
void AddControlnetRoutes(Router& router);                   // /controlnet: nothing yet, truly
void AddIngotRoutes(Router& router, const ApiPtr& api);     // /ingot/v1
void AddOpenaiRoutes(Router& router, const ApiPtr& api);    // /v1

// How a door answers for a job it has let in.
struct Door {
  std::function<Response(const JobRow&)> answer;  // of the ended job
  std::function<Response(const Status&)> refuse;  // when there is no job, or it is lost
};
// Submits, and answers when the job has ended; a queued job goes with its client.
void SubmitAndAnswer(const ApiPtr& api, const Submission& submission, const ResponderPtr& responder,
                     const Door& door);

// The error of a job that ended without pictures, under the code it was recorded with.
Status ErrorOf(const JobRow& job);

// Bytes of picture `n` of an ended job's record. kNotFound.
Result<std::string> ReadPicture(const JobRow& job, size_t n);
size_t NumPictures(const JobRow& job);

// "data:image/png;base64,…" or bare base64. kInvalidArgument, also for an address.
Result<std::string> DecodePicture(std::string_view text, std::string_view field);

// The budget in force, and who holds how much.
Json MemoryJson(const MemoryState& memory);

// A route in one line: GET answers at once.
Route GetRoute(std::string pattern, std::string summary, std::string tag,
               std::function<Result<Json>(const Request&)> answer);

}  // namespace ingot::server
