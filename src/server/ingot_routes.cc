// /ingot/v1: jobs that outlive their connection, their events and pictures, plans, memory.
#include <charconv>
#include <map>

#include "engine/questions.h"
#include "server/api.h"
#include "server/event_feed.h"

namespace ingot::server {
namespace {

constexpr const char* kTag = "ingot";
constexpr int kMaxPage = 200;
constexpr double kMaxBudgetBytes = 0x1p53;  // whole numbers that every JSON client holds

Json TimeOrNull(double seconds) { return seconds > 0 ? Json(seconds) : Json(); }

Json PicturesJson(const JobRow& job) {
  Json pictures = Json::array();
  for (size_t i = 0; i < NumPictures(job); ++i) {
    const Json& image = job.record["images"][i];
    pictures.push_back({{"url", fmt::format("/ingot/v1/jobs/{}/images/{}", job.id, i)},
                        {"seed", image.value("seed", Json())},
                        {"sha256", image.value("sha256", Json())},
                        {"infotext", image.value("infotext", Json())}});
  }
  return pictures;
}

// Of a running job, the last values of its events; null of another.
Json ProgressJson(JobService& jobs, const JobRow& job) {
  if (job.state != JobState::kRunning) return nullptr;
  const std::optional<RunningJob> running = jobs.State().running;
  if (!running || running->id != job.id) return nullptr;
  return {{"phase", running->phase},          {"step", running->step},
          {"num_steps", running->num_steps},  {"elapsed_s", running->elapsed_s},
          {"eta_s", running->eta_s},          {"preview_step", running->preview_step},
          {"memory", ToJson(running->memory)}};
}

Json JobJson(JobService& jobs, const JobRow& job) {
  Json position;
  if (job.state == JobState::kQueued) {
    const Result<int> before = jobs.Position(job.id);
    if (before.ok()) position = *before;
  }
  const Json measured = job.record.is_object() ? job.record.value("measured", Json()) : Json();
  return {{"id", job.id},
          {"state", Name(job.state)},
          {"priority", job.priority},
          {"position", position},
          {"accepted", TimeOrNull(job.accepted)},
          {"started", TimeOrNull(job.started)},
          {"finished", TimeOrNull(job.finished)},
          {"error", job.error.empty() ? Json() : Json(job.error)},
          {"error_code", job.error_code.empty() ? Json() : Json(job.error_code)},
          {"num_deaths", job.num_deaths},
          {"progress", ProgressJson(jobs, job)},
          {"images", PicturesJson(job)},
          {"interrupted", job.record.is_object() && job.record.value("interrupted", false)},
          {"job", job.job},
          {"plan", job.plan},
          {"measured", measured}};
}

// For lists of many: 400 bytes a job.
Json BriefJson(const JobRow& job) {
  const auto value = [&](const char* key) {
    return job.job.is_object() ? job.job.value(key, Json()) : Json();
  };
  return {{"id", job.id},
          {"state", Name(job.state)},
          {"accepted", TimeOrNull(job.accepted)},
          {"finished", TimeOrNull(job.finished)},
          {"error", job.error.empty() ? Json() : Json(job.error)},
          {"num_images", job.num_images},
          {"prompt", value("prompt")},
          {"model", ModelOf(job.job)},
          {"width", value("width")},
          {"height", value("height")},
          {"seed", value("seed")}};
}

// The job's files and model by the names of the list: no path of a client is opened.
Result<Json> ResolvedNames(Json job, ModelCatalog& models) {
  Json files = job.value("files", Json::object());
  if (!files.is_object()) return InvalidArgument("job.files: expected an object of file names");
  if (const Json model = job.value("model", Json()); !model.is_null()) {
    files["diffusion"] = model;
    job.erase("model");
  }
  constexpr std::pair<const char*, ModelKind> kParts[] = {{"diffusion", ModelKind::kDiffusion},
                                                          {"clip", ModelKind::kClip},
                                                          {"t5", ModelKind::kT5},
                                                          {"vae", ModelKind::kVae}};
  for (const auto& [part, kind] : kParts) {
    const auto given = files.find(part);
    if (given == files.end() || given->is_null()) continue;
    const std::string field =
        kind == ModelKind::kDiffusion ? "job.model" : fmt::format("job.files.{}", part);
    if (!given->is_string()) return InvalidArgument("{}: expected a name", field);
    INGOT_ASSIGN_OR_RETURN(const ModelFileInfo file,
                           models.Find(given->get<std::string>(), field, kind));
    *given = file.path;
  }
  if (!files.empty()) job["files"] = files;
  return job;
}

Field JobField() {
  return {.name = "job",
          .type = FieldType::kObject,
          .description =
              "prompt, negative_prompt, model, width, height, steps, batch, seed, "
              "sampler, scheduler, rng, precision, cfg, guidance, eta, files; what is "
              "left out is the model's",
          .is_required = true};
}
Field PriorityField() {
  return {.name = "priority",
          .type = FieldType::kInteger,
          .description = "higher first; 0 unless given",
          .minimum = -1000,
          .maximum = 1000};
}
Field InferenceMemoryField() {
  return {.name = "forge_inference_memory",
          .type = FieldType::kInteger,
          .description = "MB kept free of weights, as Forge has it; a hint",
          .minimum = 0,
          .maximum = 1 << 30};
}

Route RouteOf(std::string method, std::string pattern, std::string summary, Handler handler) {
  return {.method = std::move(method),
          .pattern = "/ingot/v1/" + std::move(pattern),
          .summary = std::move(summary),
          .tag = kTag,
          .handler = std::move(handler)};
}

void AddGet(Router& router, std::string pattern, std::string summary,
            std::function<Result<Json>(const Request&)> answer) {
  router.Add(
      GetRoute("/ingot/v1/" + std::move(pattern), std::move(summary), kTag, std::move(answer)));
}

void AddSubmit(Router& router, const ApiPtr& api) {
  Route route =
      RouteOf("POST", "jobs", "Accepts a job: 202, and it is kept from then on",
              [api](const Request& request, const Json& body, const ResponderPtr& responder) {
                const Result<Json> job = ResolvedNames(body["job"], api->models);
                if (!job.ok()) return responder->Send(ErrorResponse(job.status(), 422));
                Submission submission{.request = *job,
                                      .door_state = {{"door", "ingot"}},
                                      .client = request.client,
                                      .idempotency_key = body.value("idempotency_key", ""),
                                      .priority = body.value("priority", 0)};
                if (submission.idempotency_key.empty()) {
                  submission.idempotency_key = request.header("Idempotency-Key");
                }
                if (body.contains("forge_inference_memory")) {
                  submission.forge_inference_memory = body["forge_inference_memory"].get<int64_t>();
                }
                const Result<JobRow> row = api->jobs.Submit(submission);
                if (!row.ok()) return responder->Send(ErrorResponse(row.status(), 422));
                Response response = JsonResponse(JobJson(api->jobs, *row), 202);
                response.headers.emplace_back("Location", "/ingot/v1/jobs/" + row->id);
                response.headers.emplace_back("X-Job-Id", row->id);
                responder->Send(std::move(response));
              });
  route.body = Schema{.name = "SubmitRequest",
                      .fields = {JobField(),
                                 PriorityField(),
                                 {.name = "idempotency_key",
                                  .type = FieldType::kString,
                                  .description = "or the header Idempotency-Key",
                                  .max_length = 200},
                                 InferenceMemoryField()},
                      .is_lenient = false};
  router.Add(std::move(route));
}

Result<JobFilter> FilterOf(const Request& request) {
  const auto value = [&](const char* key) {
    const auto found = request.query.find(key);
    return found == request.query.end() ? std::string() : found->second;
  };
  // What is no number was refused by the schema.
  const auto number = [&](const char* key) -> std::optional<double> {
    const std::string text = value(key);
    double parsed = 0;
    std::from_chars(text.data(), text.data() + text.size(), parsed);
    return text.empty() ? std::nullopt : std::optional(parsed);
  };
  JobFilter filter{.client = value("client"),
                   .search = value("search"),
                   .model = value("model"),
                   .since = number("since"),
                   .until = number("until"),
                   .before_id = value("before"),
                   .is_brief = value("fields") == "brief"};
  const std::string state = value("state"), limit = value("limit");
  if (!state.empty()) filter.state = FindJobState(state);
  if (!limit.empty()) {
    std::from_chars(limit.data(), limit.data() + limit.size(), filter.limit);
  }
  return filter;
}

// A picture of a job never changes; no proxy keeps it, as it is somebody's.
constexpr const char* kForever = "private, max-age=31536000, immutable";

Result<std::string> PictureOf(Api& api, const Request& request) {
  const std::string& id = request.params.at("id");
  const std::string& text = request.params.at("n");
  size_t n = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), n);
  if (error != std::errc() || end != text.data() + text.size()) {
    return NotFound("job {}: expected the number of a picture, found '{}'", id, text.substr(0, 80));
  }
  if (const auto size = request.query.find("size"); size != request.query.end()) {
    int side = 0;
    std::from_chars(size->second.data(), size->second.data() + size->second.size(), side);
    return api.jobs.Thumbnail(id, n, std::max(1, side));
  }
  INGOT_ASSIGN_OR_RETURN(const JobRow job, api.jobs.Get(id));
  return ReadPicture(job, n);
}

void AddJobs(Router& router, const ApiPtr& api) {
  Route list = GetRoute(
      "/ingot/v1/jobs", "Jobs, the newest first", kTag,
      [api](const Request& request) -> Result<Json> {
        INGOT_ASSIGN_OR_RETURN(const JobFilter filter, FilterOf(request));
        INGOT_ASSIGN_OR_RETURN(const JobPage page, api->jobs.List(filter));
        Json jobs = Json::array();
        for (const JobRow& job : page.jobs) {
          jobs.push_back(filter.is_brief ? BriefJson(job) : JobJson(api->jobs, job));
        }
        return Json{{"jobs", jobs}, {"num_total", page.num_total}, {"num_images", page.num_images}};
      });
  list.query = Schema{
      .name = "JobsQuery",
      .fields = {{.name = "state",
                  .type = FieldType::kString,
                  .choices = {"queued", "running", "done", "failed", "cancelled", "quarantined"}},
                 {.name = "client", .type = FieldType::kString},
                 {.name = "search", .type = FieldType::kString, .description = "in prompts"},
                 {.name = "model",
                  .type = FieldType::kString,
                  .description = "its file without folder and extension"},
                 {.name = "since",
                  .type = FieldType::kNumber,
                  .description = "accepted then or later, in seconds since the epoch"},
                 {.name = "until", .type = FieldType::kNumber, .description = "accepted before"},
                 {.name = "fields",
                  .type = FieldType::kString,
                  .description = "brief: what a gallery shows of a job",
                  .choices = {"all", "brief"}},
                 {.name = "before",
                  .type = FieldType::kString,
                  .description = "the last id of the page before"},
                 {.name = "limit",
                  .type = FieldType::kInteger,
                  .default_value = 50,
                  .minimum = 1,
                  .maximum = kMaxPage}}};
  router.Add(std::move(list));

  AddGet(router, "jobs/{id}", "One job", [api](const Request& request) -> Result<Json> {
    INGOT_ASSIGN_OR_RETURN(const JobRow job, api->jobs.Get(request.params.at("id")));
    return JobJson(api->jobs, job);
  });
  router.Add(
      RouteOf("DELETE", "jobs/{id}", "Cancels a job; removes an ended one, for good in ten minutes",
              [api](const Request& request, const Json&, const ResponderPtr& responder) {
                const std::string& id = request.params.at("id");
                const Result<JobRow> job = api->jobs.Get(id);
                if (!job.ok()) return responder->Send(ErrorResponse(job.status()));
                const bool is_ended = IsEnded(job->state);
                const Status status = is_ended ? api->jobs.Remove(id) : api->jobs.Cancel(id);
                if (!status.ok()) return responder->Send(ErrorResponse(status));
                responder->Send(
                    JsonResponse({{"id", id}, {"removed", is_ended}, {"cancelled", !is_ended}}));
              }));
  router.Add(RouteOf("POST", "jobs/{id}/restore", "Brings back a job that was removed just now",
                     [api](const Request& request, const Json&, const ResponderPtr& responder) {
                       const std::string& id = request.params.at("id");
                       const Status status = api->jobs.Restore(id);
                       if (!status.ok()) return responder->Send(ErrorResponse(status));
                       responder->Send(JsonResponse({{"id", id}, {"restored", true}}));
                     }));
  Route move =
      RouteOf("PATCH", "jobs/{id}", "Moves a queued job; 409 when it is not queued",
              [api](const Request& request, const Json& body, const ResponderPtr& responder) {
                const std::string& id = request.params.at("id");
                JobMove move;
                if (body.contains("priority")) move.priority = body["priority"].get<int>();
                if (body.contains("position")) move.position = body["position"].get<int>();
                if (!move.priority && !move.position) {
                  return responder->Send(
                      ErrorResponse(InvalidArgument("body: expected a priority or a position")));
                }
                const Status status = api->jobs.Move(id, move);
                if (status.code() == StatusCode::kInvalidArgument) {
                  return responder->Send(PlainErrorResponse(409, status.message()));
                }
                if (!status.ok()) return responder->Send(ErrorResponse(status));
                const Result<JobRow> job = api->jobs.Get(id);
                responder->Send(job.ok() ? JsonResponse(JobJson(api->jobs, *job))
                                         : ErrorResponse(job.status()));
              });
  move.body = Schema{.name = "MoveRequest",
                     .fields = {PriorityField(),
                                {.name = "position",
                                 .type = FieldType::kInteger,
                                 .description = "jobs before it; 0: next",
                                 .minimum = 0,
                                 .maximum = 1 << 30}},
                     .is_lenient = false};
  router.Add(std::move(move));
  Route picture =
      RouteOf("GET", "jobs/{id}/images/{n}", "A picture of a job, as PNG; small with size",
              [api](const Request& request, const Json&, const ResponderPtr& responder) {
                Result<std::string> bytes = PictureOf(*api, request);
                if (!bytes.ok()) return responder->Send(ErrorResponse(bytes.status()));
                responder->Send({.content_type = "image/png",
                                 .body = *std::move(bytes),
                                 .headers = {{"Cache-Control", kForever}}});
              });
  picture.query = Schema{.name = "PictureQuery",
                         .fields = {{.name = "size",
                                     .type = FieldType::kInteger,
                                     .description = "no side above the next of 128, 256 and 512",
                                     .minimum = 1,
                                     .maximum = 512}}};
  picture.changes_state = false;
  router.Add(std::move(picture));
}

void AddEvents(Router& router, const ApiPtr& api) {
  Route all = RouteOf("GET", "events", "All that happens, as server-sent events",
                      [api](const Request& request, const Json&, const ResponderPtr& responder) {
                        StreamEvents(api, std::nullopt, request, responder);
                      });
  Route one = RouteOf("GET", "jobs/{id}/events", "What happens to a job, until it has ended",
                      [api](const Request& request, const Json&, const ResponderPtr& responder) {
                        const Result<JobRow> job = api->jobs.Get(request.params.at("id"));
                        if (!job.ok()) return responder->Send(ErrorResponse(job.status()));
                        StreamEvents(api, *job, request, responder);
                      });
  for (Route* route : {&all, &one}) {
    route->changes_state = false;
    router.Add(std::move(*route));
  }
}

// The list, with the names by which jobs call the files, and those of files of the same content.
Result<Json> Models(const ApiPtr& api) {
  INGOT_ASSIGN_OR_RETURN(Json answer, api->jobs.Ask("models", Json::object()));
  std::map<std::string, std::vector<std::string>> names;  // by hash
  std::vector<ModelFileInfo> files;
  for (const Json& file : answer["models"]) {
    files.push_back(FileInfoOf(file, api->serve.models_dir.string()));
    if (!files.back().sha256.empty()) names[files.back().sha256].push_back(files.back().name);
  }
  for (size_t i = 0; i < files.size(); ++i) {
    Json& file = answer["models"][i];
    file["name"] = files[i].name;
    file["title"] = files[i].title;
    file["duplicates"] = Json::array();
    for (const std::string& name : names[files[i].sha256]) {
      if (name != files[i].name) file["duplicates"].push_back(name);
    }
  }
  return answer;
}

// All files of one content.
Result<Json> FilesOf(const ApiPtr& api, const std::string& sha256) {
  INGOT_ASSIGN_OR_RETURN(const Json answer, Models(api));
  Json files = Json::array();
  for (const Json& file : answer["models"]) {
    if (file.value("sha256", Json()) == sha256) files.push_back(file);
  }
  if (files.empty()) {
    return NotFound("file: expected the SHA-256 of a file of the models folder, found '{}'",
                    sha256.substr(0, 80));
  }
  return Json{{"sha256", sha256}, {"files", files}};
}

void AddQuestions(Router& router, const ApiPtr& api) {
  const auto ask = [&](const char* name, const char* summary, Schema schema) {
    Route route = RouteOf("POST", name, summary,
                          [api, question = std::string(name)](const Request&, const Json& body,
                                                              const ResponderPtr& responder) {
                            Json argument = body;
                            if (body.contains("job")) {
                              const Result<Json> job = ResolvedNames(body["job"], api->models);
                              if (!job.ok())
                                return responder->Send(ErrorResponse(job.status(), 422));
                              argument.erase("job");
                              argument["request"] = *job;
                            }
                            if (body.contains("model")) {
                              const Result<ModelFileInfo> file = api->models.Find(
                                  body["model"].get<std::string>(), "model", ModelKind::kDiffusion);
                              if (!file.ok())
                                return responder->Send(ErrorResponse(file.status(), 422));
                              argument["model"] = file->path;
                            }
                            const Result<Json> answer = api->jobs.Ask(question, argument);
                            responder->Send(answer.ok() ? JsonResponse(*answer)
                                                        : ErrorResponse(answer.status(), 422));
                          });
    route.body = std::move(schema);
    route.changes_state = false;
    router.Add(std::move(route));
  };
  ask("plan", "What a job would hold, stream and keep on disk; runs nothing",
      {.name = "PlanRequest",
       .fields = {JobField(),
                  {.name = "memory_bytes",
                   .type = FieldType::kInteger,
                   .description = "another budget than the one in force",
                   .minimum = kServerShareBytes + 1,
                   .maximum = kMaxBudgetBytes},
                  InferenceMemoryField()},
       .is_lenient = false});
  ask("tokens", "How many tokens a prompt has",
      {.name = "TokensRequest",
       .fields = {{.name = "prompt", .type = FieldType::kString, .is_required = true},
                  {.name = "model", .type = FieldType::kString}},
       .is_lenient = false});
  AddGet(router, "models", "Files of the models folder, what they hold and what lacks",
         [api](const Request&) { return Models(api); });
  AddGet(router, "files/{sha256}", "The files of the models folder that have this content",
         [api](const Request& request) { return FilesOf(api, request.params.at("sha256")); });
  Route choices = GetRoute("/ingot/v1/choices", "What the fields of a job may be", kTag,
                           [](const Request&) -> Result<Json> { return JobChoices(); });
  choices.may_block = false;
  router.Add(std::move(choices));
}

void AddMemory(Router& router, const ApiPtr& api) {
  AddGet(router, "memory", "The budget in force, and who holds how much",
         [api](const Request&) -> Result<Json> { return MemoryJson(api->jobs.Memory()); });
  Route put = RouteOf("PUT", "memory", "Changes the budget from the next job on",
                      [api](const Request&, const Json& body, const ResponderPtr& responder) {
                        std::optional<int64_t> bytes;
                        if (body.contains("memory_bytes"))
                          bytes = body["memory_bytes"].get<int64_t>();
                        const Status status = api->jobs.SetMemory(bytes);
                        responder->Send(status.ok() ? JsonResponse(MemoryJson(api->jobs.Memory()))
                                                    : ErrorResponse(status, 422));
                      });
  put.body = Schema{.name = "MemoryRequest",
                    .fields = {{.name = "memory_bytes",
                                .type = FieldType::kInteger,
                                .description = "of server and workers; null: the machine decides",
                                .minimum = kServerShareBytes + 1,
                                .maximum = kMaxBudgetBytes}},
                    .is_lenient = false};
  router.Add(std::move(put));
  AddGet(router, "version", "What runs here", [](const Request&) -> Result<Json> {
    return Json{{"name", "ingot"}, {"version", INGOT_VERSION}, {"numerics", kNumericsVersion}};
  });
}

}  // namespace

void AddIngotRoutes(Router& router, const ApiPtr& api) {
  AddSubmit(router, api);
  AddJobs(router, api);
  AddEvents(router, api);
  AddQuestions(router, api);
  AddMemory(router, api);
}

}  // namespace ingot::server
