// /v1: pictures for clients of OpenAI's images API.
#include <charconv>
#include <ctime>

#include "base/base64.h"
#include "server/api.h"
#include "server/event_feed.h"
#include "server/sdapi_request.h"

namespace ingot::server {
namespace {

constexpr const char* kTag = "openai";
constexpr int kMaxPictures = 10;
constexpr int kMaxPartial = 3;

Response Refuse(const Status& status, std::string_view param = {}) {
  const bool is_missing = status.code() == StatusCode::kNotFound;
  const int code = is_missing ? 404 : ErrorResponse(status).status;
  return OpenAiErrorResponse(status.message(), code == 422 ? 400 : code, param);
}

Schema GenerationSchema() {
  using enum FieldType;
  return {
      .name = "ImageGenerationRequest",
      .fields = {{.name = "prompt", .type = kString, .is_required = true},
                 {.name = "model", .type = kString, .description = "a name of /v1/models"},
                 {.name = "n",
                  .type = kInteger,
                  .default_value = 1,
                  .minimum = 1,
                  .maximum = kMaxPictures},
                 {.name = "size",
                  .type = kString,
                  .description = "WIDTHxHEIGHT in multiples of 8, or auto: the model's",
                  .default_value = "auto"},
                 {.name = "response_format",
                  .type = kString,
                  .default_value = "b64_json",
                  .choices = {"b64_json", "url"}},
                 {.name = "output_format",
                  .type = kString,
                  .description = "png alone so far",
                  .default_value = "png",
                  .choices = {"png"}},
                 {.name = "background",
                  .type = kString,
                  .description = "never transparent",
                  .choices = {"auto", "opaque"}},
                 {.name = "quality", .type = kString, .description = "without effect"},
                 {.name = "output_compression", .type = kInteger, .description = "without effect"},
                 {.name = "moderation", .type = kString, .description = "without effect"},
                 {.name = "style", .type = kString, .description = "without effect"},
                 {.name = "user", .type = kString, .description = "without effect"},
                 {.name = "stream", .type = kBoolean, .default_value = false},
                 {.name = "partial_images",
                  .type = kInteger,
                  .default_value = 0,
                  .minimum = 0,
                  .maximum = kMaxPartial},
                 // Through extra_body.
                 {.name = "negative_prompt", .type = kString},
                 {.name = "seed", .type = kInteger, .minimum = -1, .maximum = 0x1p53},
                 {.name = "steps", .type = kInteger, .minimum = 1, .maximum = 1000},
                 {.name = "cfg_scale", .type = kNumber, .minimum = 0, .maximum = 100},
                 {.name = "guidance", .type = kNumber, .minimum = 0, .maximum = 100},
                 {.name = "sampler", .type = kString},
                 {.name = "scheduler", .type = kString}}};
}

// "1024x768" into width and height; "auto" says nothing.
Status SetSize(const std::string& size, Json& job) {
  if (size == "auto" || size.empty()) return {};
  int width = 0, height = 0;
  const char* end = size.data() + size.size();
  const auto [x, width_error] = std::from_chars(size.data(), end, width);
  if (width_error == std::errc() && x != end && *x == 'x') {
    const auto [last, height_error] = std::from_chars(x + 1, end, height);
    if (height_error == std::errc() && last == end) {
      job["width"] = width;
      job["height"] = height;
      return {};
    }
  }
  return InvalidArgument("size: expected auto or WIDTHxHEIGHT, found '{}'", size.substr(0, 80));
}

Result<Submission> SubmissionOf(const Json& body, const Request& request, const ApiPtr& api) {
  const std::string prompt = body["prompt"];
  INGOT_RETURN_IF_ERROR(CheckPrompt(prompt, "prompt"));
  Json job = {{"prompt", prompt}, {"batch", body["n"]}};
  INGOT_RETURN_IF_ERROR(SetSize(body["size"], job));
  INGOT_ASSIGN_OR_RETURN(const SamplerChoice choice,
                         ChooseSampler(body.value("sampler", ""), body.value("scheduler", "")));
  if (!choice.sampler.empty()) job["sampler"] = choice.sampler;
  if (!choice.scheduler.empty()) job["scheduler"] = choice.scheduler;
  constexpr std::pair<const char*, const char*> kSame[] = {{"negative_prompt", "negative_prompt"},
                                                           {"steps", "steps"},
                                                           {"cfg_scale", "cfg"},
                                                           {"guidance", "guidance"}};
  for (const auto& [name, key] : kSame) {
    if (body.contains(name)) job[key] = body[name];
  }
  if (body.contains("seed") && body["seed"] >= 0) job["seed"] = body["seed"];
  // The model of the options is the default here as well.
  INGOT_ASSIGN_OR_RETURN(const Json options, api->options.All());
  const std::string model = body.value("model", options.value("sd_model_checkpoint", ""));
  if (!model.empty()) {
    INGOT_ASSIGN_OR_RETURN(const ModelFileInfo file,
                           api->models.Find(model, "model", ModelKind::kDiffusion));
    job["files"] = {{"diffusion", file.path}};
  }
  return Submission{.request = job,
                    .door_state = {{"door", "openai"}},
                    .client = request.client,
                    .idempotency_key = std::string(request.header("Idempotency-Key"))};
}

std::string SizeOf(const JobRow& job) {
  return fmt::format("{}x{}", job.job.value("width", 0), job.job.value("height", 0));
}

// What both forms of an answer say of the pictures.
Json CommonOf(const JobRow& job) {
  return {{"size", SizeOf(job)},
          {"quality", "auto"},
          {"background", "opaque"},
          {"output_format", "png"}};
}

Response GenerationAnswer(const JobRow& job, const std::string& url_origin) {
  if (NumPictures(job) == 0) return Refuse(ErrorOf(job));
  Json data = Json::array();
  for (size_t i = 0; i < NumPictures(job); ++i) {
    if (!url_origin.empty()) {
      data.push_back(
          {{"url", fmt::format("{}/ingot/v1/jobs/{}/images/{}", url_origin, job.id, i)}});
      continue;
    }
    const Result<std::string> picture = ReadPicture(job, i);
    if (!picture.ok()) return Refuse(picture.status());
    data.push_back({{"b64_json", EncodeBase64(*picture)}});
  }
  Json answer = {{"created", static_cast<int64_t>(job.finished)}, {"data", std::move(data)}};
  answer.update(CommonOf(job));
  answer["plan"] = job.plan;
  Response response = JsonResponse(answer);
  response.headers.emplace_back("X-Job-Id", job.id);
  return response;
}

void SendEvent(EventStream& stream, const char* type, Json fields) {
  Json data = {{"type", type}};
  data.update(fields);
  stream.Send("", type, Dump(data));
}

// One stream: at most `num_partial` previews, spread over the run, then the pictures.
struct PartialImages {
  JobService& jobs;
  int num_partial = 0;
  int num_sent = 0;

  void OnEvent(const JobRow& job, EventStream& stream, const JobEvent& event) {
    if (event.type == "preview" && num_sent < num_partial) SendPreview(job, stream);
    if (!EndsJob(event.type)) return;
    const Result<JobRow> ended = jobs.Get(job.id);
    if (ended.ok() && NumPictures(*ended) > 0) {
      SendPictures(*ended, stream);
    } else {
      const Response error = Refuse(ended.ok() ? ErrorOf(*ended) : ended.status());
      stream.Send("", "error", error.body);
    }
    stream.Close();
  }

  void SendPreview(const JobRow& job, EventStream& stream) {
    const std::optional<RunningJob> running = jobs.State().running;
    if (!running || running->id != job.id || running->preview_png.empty()) return;
    const double share =
        running->num_steps > 0 ? static_cast<double>(running->step) / running->num_steps : 0;
    if (share < static_cast<double>(num_sent + 1) / (num_partial + 1)) return;
    Json fields = {{"b64_json", EncodeBase64(running->preview_png)},
                   {"partial_image_index", num_sent++},
                   {"created_at", std::time(nullptr)}};
    fields.update(CommonOf(job));
    SendEvent(stream, "image_generation.partial_image", fields);
  }

  static void SendPictures(const JobRow& job, EventStream& stream) {
    for (size_t i = 0; i < NumPictures(job); ++i) {
      const Result<std::string> picture = ReadPicture(job, i);
      if (!picture.ok()) {
        stream.Send("", "error", Refuse(picture.status()).body);
        return;
      }
      Json fields = {{"b64_json", EncodeBase64(*picture)},
                     {"created_at", static_cast<int64_t>(job.finished)}};
      fields.update(CommonOf(job));
      SendEvent(stream, "image_generation.completed", fields);
    }
  }
};

void StreamGeneration(const ApiPtr& api, const Submission& submission, int num_partial,
                      const ResponderPtr& responder) {
  const Result<JobRow> job = api->jobs.Submit(submission);
  if (!job.ok()) return responder->Send(Refuse(job.status()));
  const auto partial =
      std::make_shared<PartialImages>(PartialImages{.jobs = api->jobs, .num_partial = num_partial});
  // Pictures are read on the waiter's thread, which is not the service's.
  OpenEventFeed(
      api, job->id, 0, responder,
      [post = api->waiter.poster(), partial, job = *job](const std::shared_ptr<EventStream>& stream,
                                                         const JobEvent& event) {
        if (event.type != "preview" && !EndsJob(event.type)) return;
        post([=] { partial->OnEvent(job, *stream, event); });
      },
      [&jobs = api->jobs, id = job->id] {  // on the waiter's thread
        const Result<JobRow> row = jobs.Get(id);
        if (row.ok() && row->state == JobState::kQueued) (void)jobs.Cancel(id);
      });
}

void AddGenerations(Router& router, const ApiPtr& api) {
  router.Add(
      {.method = "POST",
       .pattern = "/v1/images/generations",
       .summary = "Pictures from text",
       .tag = kTag,
       .body = GenerationSchema(),
       .handler = [api](const Request& request, const Json& body, const ResponderPtr& responder) {
         const Result<Submission> submission = SubmissionOf(body, request, api);
         if (!submission.ok()) return responder->Send(Refuse(submission.status()));
         if (body["stream"] == true) {
           return StreamGeneration(api, *submission, body["partial_images"].get<int>(), responder);
         }
         const std::string origin = body["response_format"] == "url" ? request.origin : "";
         SubmitAndAnswer(api, *submission, responder,
                         {[origin](const JobRow& job) { return GenerationAnswer(job, origin); },
                          [](const Status& status) { return Refuse(status); }});
       }});
  for (const char* name : {"edits", "variations"}) {
    router.Add({.method = "POST",
                .pattern = fmt::format("/v1/images/{}", name),
                .summary = "Refused: pictures from pictures are not there yet",
                .tag = kTag,
                .handler =
                    [](const Request&, const Json&, const ResponderPtr& responder) {
                      responder->Send(
                          Refuse(InvalidArgument("image: a picture from pictures is not there yet"),
                                 "image"));
                    },
                .may_block = false});
  }
}

}  // namespace

void AddOpenaiRoutes(Router& router, const ApiPtr& api) {
  AddGenerations(router, api);
  router.Add(
      GetRoute("/v1/models", "Diffusion models", kTag, [api](const Request&) -> Result<Json> {
        INGOT_ASSIGN_OR_RETURN(const std::vector<ModelFileInfo> files, api->models.List());
        Json data = Json::array();
        for (const ModelFileInfo& file : files) {
          if (!file.Holds(ModelKind::kDiffusion)) continue;
          data.push_back({{"id", file.model_name},
                          {"object", "model"},
                          {"created", 0},
                          {"owned_by", "ingot"}});
        }
        return Json{{"object", "list"}, {"data", data}};
      }));
}

}  // namespace ingot::server
