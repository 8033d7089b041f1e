#include "server/sdapi_answer.h"

#include <ctime>
#include <filesystem>

#include "base/base64.h"
#include "server/api.h"
#include "server/infotext.h"
#include "server/sdapi_request.h"

namespace ingot::server {
namespace {

// In Forge's way, local time: "20261124170501".
std::string Timestamp(double seconds) {
  const auto time = static_cast<std::time_t>(seconds);
  std::tm local = {};
  localtime_r(&time, &local);
  char text[32];
  return std::string(text, std::strftime(text, sizeof(text), "%Y%m%d%H%M%S", &local));
}

Json Find(const Json& object, const char* key) {
  const auto found = object.is_object() ? object.find(key) : object.end();
  return object.is_object() && found != object.end() ? *found : Json();
}

std::string FileName(const JobRow& job, const char* part) {
  const Json path = Find(Find(job.job, "files"), part);
  return path.is_string() ? std::filesystem::path(path.get<std::string>()).filename().string() : "";
}

Json RequestOf(const JobRow& job) {
  const Json request = Find(job.door_state, "request");
  return request.is_object() ? request : Json::object();
}

Json Given(const JobRow& job, const char* key, Json otherwise) {
  const Json value = Find(RequestOf(job), key);
  return value.is_null() ? otherwise : value;
}

// Of the pictures that there are; of a job that has none, what it was asked for.
Json SeedsOf(const JobRow& job) {
  Json seeds = Json::array();
  for (size_t i = 0; i < NumPictures(job); ++i) {
    seeds.push_back(Find(job.record["images"][i], "seed"));
  }
  if (seeds.empty()) seeds.push_back(Find(job.job, "seed"));
  return seeds;
}

}  // namespace

Json InfoOf(const JobRow& job) {
  const Json seeds = SeedsOf(job);
  Json infotexts = Json::array(), prompts = Json::array(), negatives = Json::array();
  for (size_t i = 0; i < seeds.size(); ++i) {
    prompts.push_back(Find(job.job, "prompt"));
    negatives.push_back(Find(job.job, "negative_prompt"));
  }
  for (size_t i = 0; i < NumPictures(job); ++i) {
    infotexts.push_back(Find(job.record["images"][i], "infotext"));
  }
  const Infotext text = ParseInfotext(infotexts.empty()          ? ""
                                      : infotexts[0].is_string() ? infotexts[0].get<std::string>()
                                                                 : "");
  const auto text_or_null = [](std::string_view value) {
    return value.empty() ? Json() : Json(value);
  };
  const Json subseed = Given(job, "subseed", -1);
  Json subseeds = Json::array();
  for (size_t i = 0; i < seeds.size(); ++i) {
    const bool is_given = subseed.is_number_integer() && subseed >= 0;
    subseeds.push_back(is_given ? Json(subseed.get<int64_t>() + static_cast<int64_t>(i)) : subseed);
  }
  return {{"prompt", Find(job.job, "prompt")},
          {"all_prompts", prompts},
          {"negative_prompt", Find(job.job, "negative_prompt")},
          {"all_negative_prompts", negatives},
          {"seed", seeds[0]},
          {"all_seeds", seeds},
          {"subseed", subseed},
          {"all_subseeds", subseeds},
          {"subseed_strength", Given(job, "subseed_strength", 0.0)},
          {"width", Find(job.job, "width")},
          {"height", Find(job.job, "height")},
          {"sampler_name", Find(job.job, "sampler")},
          {"cfg_scale", Find(job.job, "cfg")},
          {"steps", Find(job.job, "steps")},
          {"batch_size", Given(job, "batch_size", 1)},
          {"restore_faces", false},
          {"face_restoration_model", nullptr},
          {"sd_model_name", std::filesystem::path(FileName(job, "diffusion")).stem().string()},
          {"sd_model_hash", text_or_null(text.field("Model hash"))},
          {"sd_vae_name", text_or_null(FileName(job, "vae"))},
          {"sd_vae_hash", nullptr},
          {"seed_resize_from_w", Given(job, "seed_resize_from_w", -1)},
          {"seed_resize_from_h", Given(job, "seed_resize_from_h", -1)},
          {"denoising_strength", Given(job, "denoising_strength", nullptr)},
          {"extra_generation_params", {{"Schedule type", Find(job.job, "scheduler")}}},
          {"index_of_first_image", 0},
          {"infotexts", infotexts},
          {"styles", Given(job, "styles", Json::array())},
          {"job_timestamp", Timestamp(job.started)},
          {"clip_skip", Find(job.door_state, "clip_skip")},
          {"is_using_inpainting_conditioning", false},
          {"version", "ingot-" INGOT_VERSION}};
}

Json ParametersOf(const JobRow& job) {
  const Json request = RequestOf(job);
  Json parameters = Json::object();
  for (const Field& field : Txt2ImgSchema().fields) {
    const Json given = Find(request, field.name.c_str());
    parameters[field.name] = given.is_null() ? field.default_value : given;
  }
  const std::pair<const char*, const char*> kResolved[] = {{"prompt", "prompt"},
                                                           {"negative_prompt", "negative_prompt"},
                                                           {"steps", "steps"},
                                                           {"cfg_scale", "cfg"},
                                                           {"width", "width"},
                                                           {"height", "height"},
                                                           {"sampler_name", "sampler"},
                                                           {"scheduler", "scheduler"},
                                                           {"distilled_cfg_scale", "guidance"}};
  for (const auto& [name, key] : kResolved) {
    const Json& given = parameters[name];
    const bool is_placeholder = given.is_null() || given == "" || (given.is_number() && given <= 0);
    if (is_placeholder) parameters[name] = Find(job.job, key);
  }
  if (parameters["seed"].is_null()) parameters["seed"] = -1;
  return parameters;
}

Response Txt2ImgAnswer(const JobRow& job) {
  if (job.state != JobState::kDone && job.state != JobState::kCancelled) {
    return ErrorResponse(ErrorOf(job));
  }
  Json images = Json::array();
  const bool sends = Given(job, "send_images", true) != false;
  for (size_t i = 0; sends && i < NumPictures(job); ++i) {
    const Result<std::string> picture = ReadPicture(job, i);
    if (!picture.ok()) return ErrorResponse(picture.status());
    images.push_back(EncodeBase64(*picture));
  }
  Response response = JsonResponse({{"images", std::move(images)},
                                    {"parameters", ParametersOf(job)},
                                    {"info", Dump(InfoOf(job))},
                                    {"plan", job.plan}});
  response.headers.emplace_back("X-Job-Id", job.id);
  return response;
}

}  // namespace ingot::server
