// /sdapi/v1: pictures, options, lists, as clients of Forge and AUTOMATIC1111 use them.
#include <filesystem>

#include "base/system_memory.h"
#include "server/api.h"
#include "server/picture_info.h"
#include "server/sdapi_answer.h"
#include "server/sdapi_request.h"
#include "server/text.h"

namespace ingot::server {
namespace {

constexpr const char* kTag = "sdapi";

Route Post(std::string name, std::string summary, Handler handler) {
  return {.method = "POST",
          .pattern = "/sdapi/v1/" + std::move(name),
          .summary = std::move(summary),
          .tag = kTag,
          .handler = std::move(handler)};
}

void AddList(Router& router, std::string name, std::string summary,
             std::function<Result<Json>()> list) {
  router.Add(GetRoute("/sdapi/v1/" + std::move(name), std::move(summary), kTag,
                      [list = std::move(list)](const Request&) { return list(); }));
}

// Actions answer {}: clients touch properties of what they get.
void AddAction(Router& router, std::string name, std::string summary,
               std::function<Status()> action) {
  router.Add(Post(
      std::move(name), std::move(summary),
      [action = std::move(action)](const Request&, const Json&, const ResponderPtr& responder) {
        const Status status = action();
        responder->Send(status.ok() ? JsonResponse(Json::object()) : ErrorResponse(status));
      }));
}

void AddRefusal(Router& router, std::string name, std::string what) {
  Route route =
      Post(name, "Refused: " + what + " is not there yet",
           [name, what](const Request&, const Json&, const ResponderPtr& responder) {
             responder->Send(ErrorResponse(InvalidArgument("{}: {} is not there yet", name, what)));
           });
  route.may_block = false;
  router.Add(std::move(route));
}

void AddGeneration(Router& router, const ApiPtr& api) {
  Route txt2img =
      Post("txt2img", "A picture from text; answers when it is there",
           [api](const Request& request, const Json& body, const ResponderPtr& responder) {
             const auto refuse = [](const Status& status) { return ErrorResponse(status, 422); };
             const Result<Json> options = api->options.All();
             if (!options.ok()) return responder->Send(refuse(options.status()));
             Result<Submission> submission = SubmissionFromTxt2Img(body, *options, api->models);
             if (!submission.ok()) return responder->Send(refuse(submission.status()));
             submission->client = request.client;
             submission->idempotency_key = request.header("Idempotency-Key");
             SubmitAndAnswer(api, *submission, responder, {Txt2ImgAnswer, refuse});
           });
  txt2img.body = Txt2ImgSchema();
  router.Add(std::move(txt2img));
  AddRefusal(router, "img2img", "a picture from pictures");
  AddRefusal(router, "extra-single-image", "upscaling");
  AddRefusal(router, "extra-batch-images", "upscaling");
  AddRefusal(router, "interrogate", "a caption of a picture");
  AddAction(router, "interrupt", "Ends the running job with the pictures that it has sampled",
            [api] {
              (void)api->jobs.Interrupt();
              return Status();
            });
  AddAction(router, "skip", "As interrupt", [api] {
    (void)api->jobs.Interrupt();
    return Status();
  });
}

void AddOptions(Router& router, const ApiPtr& api) {
  AddList(router, "options", "All options", [api] { return api->options.All(); });
  Route post = Post(
      "options", "Keeps options for later jobs; all or none of them",
      [api](const Request&, const Json& body, const ResponderPtr& responder) {
        const Status status = api->options.Set(body);
        responder->Send(status.ok() ? JsonResponse(Json::object()) : ErrorResponse(status, 422));
      });
  post.body = Schema{.name = "Options"};
  for (const Option& option : AllOptions()) {
    post.body->fields.push_back({.name = std::string(option.name)});
  }
  router.Add(std::move(post));
  // Nothing of the command line but what clients ask for; credentials never.
  AddList(router, "cmd-flags", "Flags of the server", [api]() -> Result<Json> {
    return Json{{"api", true},
                {"models_dir", api->serve.models_dir.string()},
                {"data_dir", api->serve.data_dir.string()}};
  });
}

Json SamplerList() {
  Json list = Json::array();
  for (const Sampler& sampler : Samplers()) {
    Json aliases = Json::array(), options = Json::object();
    for (std::string_view alias : {sampler.alias, sampler.alias_2}) {
      if (!alias.empty()) aliases.push_back(alias);
    }
    if (sampler.noise == NoiseKind::kBrownian) options["brownian_noise"] = true;
    if (sampler.name == "Euler a") options["uses_ensd"] = true;
    if (sampler.name == "Heun") options["second_order"] = true;
    list.push_back({{"name", sampler.name}, {"aliases", aliases}, {"options", options}});
  }
  return list;
}

Json SchedulerList() {
  Json list = Json::array({{{"name", "automatic"},
                            {"label", "Automatic"},
                            {"aliases", nullptr},
                            {"default_rho", -1},
                            {"need_inner_model", false}}});
  for (const Scheduler& scheduler : Schedulers()) {
    const bool has_rho = scheduler.name == "karras" || scheduler.name == "polyexponential";
    const bool is_free =
        has_rho || scheduler.name == "exponential" || scheduler.name == "kl_optimal";
    list.push_back({{"name", scheduler.name},
                    {"label", scheduler.label},
                    {"aliases", scheduler.alias.empty() ? Json() : Json::array({scheduler.alias})},
                    {"default_rho", !has_rho                     ? -1
                                    : scheduler.name == "karras" ? 7
                                                                 : 1},
                    {"need_inner_model", !is_free}});
  }
  return list;
}

Result<Json> ModelList(const ApiPtr& api) {
  INGOT_ASSIGN_OR_RETURN(const std::vector<ModelFileInfo> files, api->models.List());
  Json list = Json::array();
  for (const ModelFileInfo& file : files) {
    if (!file.Holds(ModelKind::kDiffusion)) continue;
    const Json hash = file.sha256.empty() ? Json() : Json(file.sha256.substr(0, 10));
    list.push_back({{"title", file.title},
                    {"model_name", file.model_name},
                    {"hash", hash},
                    {"sha256", file.sha256.empty() ? Json() : Json(file.sha256)},
                    {"filename", file.path},
                    {"config", nullptr}});
  }
  return list;
}

// VAEs (A1111's sd-vae), or encoders as well (Forge's sd-modules).
Result<Json> ModuleList(const ApiPtr& api, std::initializer_list<ModelKind> kinds) {
  INGOT_ASSIGN_OR_RETURN(const std::vector<ModelFileInfo> files, api->models.List());
  Json list = Json::array();
  for (const ModelFileInfo& file : files) {
    for (ModelKind kind : kinds) {
      if (!file.Holds(kind) || file.Holds(ModelKind::kDiffusion)) continue;
      list.push_back({{"model_name", std::filesystem::path(file.path).filename().string()},
                      {"filename", file.path}});
      break;
    }
  }
  return list;
}

void AddLists(Router& router, const ApiPtr& api) {
  AddList(router, "samplers", "Samplers with their aliases",
          []() -> Result<Json> { return SamplerList(); });
  AddList(router, "schedulers", "Schedulers", []() -> Result<Json> { return SchedulerList(); });
  AddList(router, "sd-models", "Diffusion models", [api] { return ModelList(api); });
  AddList(router, "sd-vae", "VAE files", [api] { return ModuleList(api, {ModelKind::kVae}); });
  AddList(router, "sd-modules", "VAE and text encoder files", [api] {
    return ModuleList(api, {ModelKind::kVae, ModelKind::kClip, ModelKind::kT5});
  });
  AddList(router, "upscalers", "None, and what exists: nothing yet", []() -> Result<Json> {
    return Json::array({{{"name", "None"},
                         {"model_name", nullptr},
                         {"model_path", nullptr},
                         {"model_url", nullptr},
                         {"scale", 4}}});
  });
  for (const char* name : {"latent-upscale-modes", "loras", "hypernetworks", "face-restorers",
                           "realesrgan-models", "prompt-styles", "script-info", "extensions"}) {
    AddList(router, name, "Empty: there are none yet",
            []() -> Result<Json> { return Json::array(); });
  }
  AddList(router, "scripts", "Empty: there are none yet", []() -> Result<Json> {
    return Json{{"txt2img", Json::array()}, {"img2img", Json::array()}};
  });
  AddList(router, "embeddings", "Empty: there are none yet", []() -> Result<Json> {
    return Json{{"loaded", Json::object()}, {"skipped", Json::object()}};
  });
  for (const char* name :
       {"refresh-checkpoints", "refresh-vae", "refresh-loras", "refresh-embeddings"}) {
    AddAction(router, name, "Looks into the models folder anew",
              [api] { return api->models.Refresh(); });
  }
}

// What the machine has and who of Ingot holds how much.
Result<Json> MemoryJson(JobService& jobs) {
  INGOT_ASSIGN_OR_RETURN(const UsableMemory usable, ReadUsableMemory());
  INGOT_ASSIGN_OR_RETURN(const ProcessMemory own, ReadProcessMemory());
  const MemoryState memory = jobs.Memory();
  const int64_t used = own.resident_bytes + memory.worker_rss_bytes + memory.planner_rss_bytes;
  const int64_t free = std::max<int64_t>(0, usable.num_bytes - own.resident_bytes);
  return Json{
      {"ram",
       {{"free", free}, {"used", used}, {"total", free + used}, {"limited_by", usable.limited_by}}},
      {"cuda", {{"error", "no GPU is used"}}},
      {"ingot",
       {{"server", own.resident_bytes},
        {"worker", memory.worker_rss_bytes},
        {"planner", memory.planner_rss_bytes},
        {"budget", memory.budget_bytes},
        {"budget_limited_by", memory.limited_by}}}};
}

void AddMemory(Router& router, const ApiPtr& api) {
  AddList(router, "memory", "What is free, and what each process holds",
          [api] { return MemoryJson(api->jobs); });
  AddAction(router, "unload-checkpoint", "Drops all that is kept between jobs",
            [api] { return api->jobs.Forget(); });
  AddAction(router, "reload-checkpoint", "Nothing: a job loads what it needs",
            [] { return Status(); });
}

Result<Json> PngInfoJson(const Json& body, ModelCatalog& models) {
  INGOT_ASSIGN_OR_RETURN(const std::string bytes,
                         DecodePicture(body["image"].get<std::string>(), "image"));
  // Of other formats nothing is known, as of a picture without texts.
  Result<std::vector<PngText>> read = ReadPictureTexts(bytes, "image");
  if (!read.ok() && read.status().code() != StatusCode::kUnsupported) return read.status();
  const std::vector<PngText> texts = read.ok() ? *std::move(read) : std::vector<PngText>();
  const PictureInfo picture = ReadPictureInfo(texts);
  const Recipe recipe = RecipeOf(picture, models);
  Json items = Json::object(), parameters = Json::object(), fields = Json::array();
  for (const PngText& text : texts) {
    if (text.key != "parameters") items[text.key] = text.text;
  }
  for (const auto& [key, value] : picture.info.fields) {
    fields.push_back({{"name", key}, {"value", value}});
  }
  // As Forge: a graph of ComfyUI is no text.
  const bool has_info = !picture.text.empty() && picture.source != "ComfyUI";
  if (has_info) {
    parameters = {{"Prompt", picture.info.prompt},
                  {"Negative prompt", picture.info.negative_prompt}};
    for (const auto& [key, value] : picture.info.fields) parameters[key] = value;
  }
  return Json{{"info", has_info ? picture.text : ""},
              {"items", items},
              {"parameters", parameters},
              {"ingot",
               {{"source", picture.source.empty() ? Json() : Json(picture.source)},
                {"infotext", picture.text},
                {"prompt", picture.info.prompt},
                {"negative_prompt", picture.info.negative_prompt},
                {"fields", fields},
                {"job", recipe.job},
                {"unknown", recipe.unknown}}}};
}

void AddPngInfo(Router& router, const ApiPtr& api) {
  Route route =
      Post("png-info", "How a PNG, JPEG or WebP says it was made, and what of it a job can repeat",
           [api](const Request&, const Json& body, const ResponderPtr& responder) {
             const Result<Json> json = PngInfoJson(body, api->models);
             responder->Send(json.ok() ? JsonResponse(*json)
                                       : ErrorResponse(Status(StatusCode::kInvalidArgument,
                                                              json.status().message())));
           });
  route.body = Schema{.name = "PngInfoRequest",
                      .fields = {{.name = "image",
                                  .type = FieldType::kString,
                                  .description = "base64 or a data: address",
                                  .is_required = true,
                                  .max_length = size_t{128} << 20}}};
  route.changes_state = false;
  router.Add(std::move(route));
}

}  // namespace

void AddSdapiRoutes(Router& router, const ApiPtr& api) {
  AddGeneration(router, api);
  AddOptions(router, api);
  AddLists(router, api);
  AddMemory(router, api);
  AddPngInfo(router, api);
}

}  // namespace ingot::server
