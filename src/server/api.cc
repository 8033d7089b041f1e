#include "server/api.h"

#include "base/base64.h"
#include "base/file.h"
#include "server/routes.h"
#include "server/text.h"

namespace ingot::server {
namespace {

constexpr size_t kMaxPictureBytes = size_t{1} << 30;  // of a file in the history

}  // namespace

void AddApiRoutes(Router& router, JobService& jobs, const ServeOptions& options) {
  const auto api = std::make_shared<Api>(jobs, options);
  AddSdapiRoutes(router, api);
  AddProgressRoutes(router, api);
  AddControlnetRoutes(router);
  AddIngotRoutes(router, api);
  AddOpenaiRoutes(router, api);
}

void SubmitAndAnswer(const ApiPtr& api, const Submission& submission, const ResponderPtr& responder,
                     const Door& door) {
  const Result<JobRow> job = api->jobs.Submit(submission);
  if (!job.ok()) return responder->Send(door.refuse(job.status()));
  responder->OnDisconnect(api->waiter.Wait(job->id, [responder, door](const Result<JobRow>& ended) {
    responder->Send(ended.ok() ? door.answer(*ended) : door.refuse(ended.status()));
  }));
}

Status ErrorOf(const JobRow& job) {
  if (job.state == JobState::kCancelled) return Cancelled("job {}: cancelled", job.id);
  const std::optional<StatusCode> code = FindStatusCode(job.error_code);
  if (code && *code != StatusCode::kOk) return {*code, job.error};
  return Corruption("job {}: {}", job.id, job.error.empty() ? Name(job.state) : job.error);
}

size_t NumPictures(const JobRow& job) {
  const auto images = job.record.is_object() ? job.record.find("images") : job.record.end();
  return images != job.record.end() && images->is_array() ? images->size() : 0;
}

Result<std::string> ReadPicture(const JobRow& job, size_t n) {
  if (n >= NumPictures(job)) {
    return NotFound("job {}: has {} pictures, found no {}", job.id, NumPictures(job), n);
  }
  return ReadSmallFile(job.record["images"][n].value("path", ""), kMaxPictureBytes);
}

Result<std::string> DecodePicture(std::string_view text, std::string_view field) {
  if (text.starts_with("http:") || text.starts_with("https:")) {
    return InvalidArgument("{}: expected base64, found an address: requests are not made", field);
  }
  if (text.starts_with("data:")) {
    const size_t comma = text.find(',');
    if (comma == std::string_view::npos || !text.substr(0, comma).ends_with(";base64")) {
      return InvalidArgument("{}: expected data:image/png;base64,…", field);
    }
    text.remove_prefix(comma + 1);
  }
  Result<std::string> bytes = DecodeBase64(text);
  if (!bytes.ok()) return InvalidArgument("{}: Invalid encoded image", field);
  return bytes;
}

Json MemoryJson(const MemoryState& memory) {
  return {{"memory_bytes", memory.budget_bytes},
          {"limited_by", memory.limited_by},
          {"machine_bytes", memory.machine_bytes},
          {"server_share_bytes", memory.server_share_bytes},
          {"server_rss_bytes", memory.server_rss_bytes},
          {"worker_rss_bytes", memory.worker_rss_bytes},
          {"planner_rss_bytes", memory.planner_rss_bytes}};
}

Route GetRoute(std::string pattern, std::string summary, std::string tag,
               std::function<Result<Json>(const Request&)> answer) {
  return {.method = "GET",
          .pattern = std::move(pattern),
          .summary = std::move(summary),
          .tag = std::move(tag),
          .handler =
              [answer = std::move(answer)](const Request& request, const Json&,
                                           const ResponderPtr& responder) {
                const Result<Json> json = answer(request);
                responder->Send(json.ok() ? JsonResponse(*json) : ErrorResponse(json.status()));
              },
          .changes_state = false};
}

}  // namespace ingot::server
