#include "server/picture_info.h"

#include <array>
#include <optional>
#include <span>

#include "server/comfy_graph.h"
#include "server/http.h"
#include "server/sdapi_request.h"
#include "server/text.h"

namespace ingot::server {
namespace {

std::string TextUnder(const std::vector<PngText>& texts, std::string_view key) {
  for (const PngText& text : texts) {
    if (text.key == key) return text.text;
  }
  return {};
}

// An object, or null: what a stranger wrote.
Json ObjectOf(std::string_view text) {
  const Result<Json> json = ParseJson(text);
  return json.ok() && json->is_object() ? *json : Json();
}

std::string TextOf(const Json& object, const char* key) {
  const auto value = object.is_object() ? object.find(key) : object.end();
  if (value == object.end() || value->is_null()) return {};
  return value->is_string() ? value->get<std::string>() : Dump(*value);
}

std::string SourceOf(const Infotext& info) {
  const std::string_view version = info.field("Version");
  if (version.starts_with("ingot")) return "Ingot";
  if (version.starts_with("f") || version.starts_with("neo")) return "Forge";
  return "AUTOMATIC1111";
}

// A1111's text of fields that another program wrote otherwise.
std::string WriteInfotext(const Infotext& info) {
  std::string text = info.prompt, line;
  if (!info.negative_prompt.empty()) text += "\nNegative prompt: " + info.negative_prompt;
  for (const auto& [key, value] : info.fields) {
    if (key.starts_with("Size-")) continue;
    const bool is_plain = value.find_first_of(",:\n") == std::string::npos;
    line += fmt::format("{}{}: {}", line.empty() ? "" : ", ", key,
                        is_plain ? value : Dump(Json(value)));
  }
  return text + "\n" + line;
}

struct Translation {
  const char* theirs;
  const char* ours;
};
Infotext Translate(const Json& object, std::span<const Translation> table) {
  Infotext info;
  for (const auto& [theirs, ours] : table) {
    const std::string value = TextOf(object, theirs);
    if (!value.empty()) info.fields.emplace_back(ours, value);
  }
  const std::string_view width = info.field("Size-1"), height = info.field("Size-2");
  if (!width.empty() && !height.empty()) {
    info.fields.emplace_back("Size", fmt::format("{}x{}", width, height));
  }
  return info;
}

// {"Description": prompt, "Comment": "{…}"}, as texts of their own or hidden in alpha.
std::optional<Infotext> ReadNovelAi(const std::string& description, const std::string& comment) {
  const Json json = ObjectOf(comment);
  if (!json.is_object() || !json.contains("sampler")) return std::nullopt;
  constexpr std::array<Translation, 7> kTable = {{{"steps", "Steps"},
                                                  {"sampler", "Sampler"},
                                                  {"noise_schedule", "Schedule type"},
                                                  {"scale", "CFG scale"},
                                                  {"seed", "Seed"},
                                                  {"width", "Size-1"},
                                                  {"height", "Size-2"}}};
  Infotext info = Translate(json, kTable);
  info.prompt = description.empty() ? TextOf(json, "prompt") : description;
  info.negative_prompt = TextOf(json, "uc");
  return info;
}

std::optional<Infotext> ReadSwarm(const Json& json) {
  const auto parameters = json.is_object() ? json.find("sui_image_params") : json.end();
  if (parameters == json.end() || !parameters->is_object()) return std::nullopt;
  constexpr std::array<Translation, 9> kTable = {{{"steps", "Steps"},
                                                  {"sampler", "Sampler"},
                                                  {"scheduler", "Schedule type"},
                                                  {"cfgscale", "CFG scale"},
                                                  {"fluxguidancescale", "Distilled CFG Scale"},
                                                  {"seed", "Seed"},
                                                  {"width", "Size-1"},
                                                  {"height", "Size-2"},
                                                  {"model", "Model"}}};
  Infotext info = Translate(*parameters, kTable);
  info.prompt = TextOf(*parameters, "prompt");
  info.negative_prompt = TextOf(*parameters, "negativeprompt");
  return info;
}

PictureInfo Of(std::string source, Infotext info) {
  PictureInfo picture{.source = std::move(source), .info = std::move(info)};
  picture.text = WriteInfotext(picture.info);
  return picture;
}

// Collects what cannot be repeated.
class Unknown {
 public:
  void Add(const char* field, std::string_view found, std::string_view message,
           Json known = Json::array()) {
    json_.push_back({{"field", field}, {"found", found}, {"message", message}, {"known", known}});
  }
  Json Take() { return std::move(json_); }

 private:
  Json json_ = Json::array();
};

Json NamesOf(const std::vector<ModelFileInfo>& files, std::optional<ModelKind> kind) {
  Json names = Json::array();
  for (const ModelFileInfo& file : files) {
    if (kind ? file.Holds(*kind) : !file.kinds.empty()) names.push_back(file.name);
  }
  return names;
}

// By its hash, which says more than a name; ComfyUI and SwarmUI name it with its folder.
void SetModels(const Infotext& info, ModelCatalog& models, Json& job, Unknown& unknown) {
  const Result<std::vector<ModelFileInfo>> listed = models.List();
  const std::vector<ModelFileInfo> files = listed.ok() ? *listed : std::vector<ModelFileInfo>();
  const std::string hash(info.field("Model hash")), name(info.field("Model"));
  std::optional<ModelFileInfo> model;
  for (const std::string& one : {hash, name, name.substr(name.find_last_of("/\\") + 1)}) {
    if (one.empty() || model) continue;
    const Result<ModelFileInfo> found = models.Find(one, "model", ModelKind::kDiffusion);
    if (found.ok()) model = *found;
  }
  if (model) {
    job["model"] = model->name;
  } else if (!hash.empty() || !name.empty()) {
    unknown.Add("model", hash.empty() ? name : fmt::format("{} [{}]", name, hash),
                "no diffusion model of this name or hash is in the models folder",
                NamesOf(files, ModelKind::kDiffusion));
  }
  Json parts = Json::object();
  for (const auto& [key, value] : info.fields) {
    if (!key.starts_with("Module ")) continue;
    const Result<ModelFileInfo> file = models.FindModule(value, "module");
    if (!file.ok()) {
      unknown.Add("module", value, "no VAE or text encoder of this name is in the models folder",
                  NamesOf(files, std::nullopt));
      continue;
    }
    if (file->Holds(ModelKind::kVae)) parts["vae"] = file->name;
    if (file->Holds(ModelKind::kClip)) parts["clip"] = file->name;
    if (file->Holds(ModelKind::kT5)) parts["t5"] = file->name;
  }
  if (!parts.empty()) job["files"] = parts;
}

void SetSampler(const Infotext& info, Json& job, Unknown& unknown) {
  const std::string_view sampler = info.field("Sampler"), scheduler = info.field("Schedule type");
  SamplerChoice choice;
  if (const auto both = ChooseSampler(sampler, scheduler); both.ok()) {
    choice = *both;
  } else {
    const auto first = ChooseSampler(sampler, ""), second = ChooseSampler("", scheduler);
    if (first.ok()) choice = *first;
    if (second.ok()) choice.scheduler = second->scheduler;
    Json samplers = Json::array(), schedulers = Json::array();
    for (const Sampler& one : Samplers()) samplers.push_back(one.name);
    for (const Scheduler& one : Schedulers()) schedulers.push_back(one.label);
    if (!first.ok()) unknown.Add("sampler", sampler, "this sampler is not there", samplers);
    if (!second.ok()) unknown.Add("scheduler", scheduler, "this schedule is not there", schedulers);
  }
  if (!choice.sampler.empty()) job["sampler"] = choice.sampler;
  if (!choice.scheduler.empty()) job["scheduler"] = choice.scheduler;
}

void SetNumbers(const Infotext& info, Json& job) {
  constexpr std::array<Translation, 8> kNumbers = {{{"Size-1", "width"},
                                                    {"Size-2", "height"},
                                                    {"Steps", "steps"},
                                                    {"Seed", "seed"},
                                                    {"CFG scale", "cfg"},
                                                    {"Distilled CFG Scale", "guidance"},
                                                    {"Eta", "eta"},
                                                    {"Eta DDIM", "eta"}}};
  for (const auto& [theirs, ours] : kNumbers) {
    const Json number = Json::parse(info.field(theirs), nullptr, /*allow_exceptions=*/false);
    if (number.is_number()) job[ours] = number;
  }
}

}  // namespace

PictureInfo ReadPictureInfo(const std::vector<PngText>& texts) {
  if (const std::string text = TextUnder(texts, "parameters"); !text.empty()) {
    if (text.starts_with("{")) {
      if (auto info = ReadSwarm(ObjectOf(text))) return Of("SwarmUI", *std::move(info));
    }
    PictureInfo picture{.info = ParseInfotext(text), .text = text};
    picture.source = SourceOf(picture.info);
    return picture;
  }
  const Json hidden = ObjectOf(TextUnder(texts, "hidden"));
  for (const auto& [description, comment] :
       {std::pair(TextUnder(texts, "Description"), TextUnder(texts, "Comment")),
        std::pair(TextOf(hidden, "Description"), TextOf(hidden, "Comment"))}) {
    if (auto info = ReadNovelAi(description, comment)) return Of("NovelAI", *std::move(info));
  }
  if (auto info = ReadComfyGraph(ObjectOf(TextUnder(texts, "prompt")))) {
    return Of("ComfyUI", *std::move(info));
  }
  return {};
}

Recipe RecipeOf(const PictureInfo& picture, ModelCatalog& models) {
  Recipe recipe;
  if (picture.source.empty()) return recipe;
  const Infotext& info = picture.info;
  Json& job = recipe.job;
  Unknown unknown;
  job["prompt"] = info.prompt;
  if (!info.negative_prompt.empty()) job["negative_prompt"] = info.negative_prompt;
  for (const std::string& prompt : {info.prompt, info.negative_prompt}) {
    const Status status = CheckPrompt(prompt, "prompt");
    if (!status.ok()) unknown.Add("prompt", prompt.substr(0, 100), status.message());
  }
  SetModels(info, models, job, unknown);
  SetSampler(info, job, unknown);
  SetNumbers(info, job);
  // Where A1111 and Forge say nothing they drew on the GPU, which NV repeats.
  const std::string_view rng = info.field("RNG");
  if (EqualsIgnoringCase(rng, "CPU")) {
    job["rng"] = "cpu";
  } else if (!info.fields.empty() && picture.source != "NovelAI") {
    job["rng"] = "nv";
  }
  constexpr std::array<Translation, 7> kNotThere = {
      {{"Hires upscale", "hires fix"},
       {"Hires resize", "hires fix"},
       {"Denoising strength", "a picture from pictures"},
       {"Variation seed", "a variation of a seed"},
       {"Refiner", "a refiner"},
       {"ControlNet 0", "ControlNet"},
       {"Face restoration", "face restoration"}}};
  for (const auto& [theirs, what] : kNotThere) {
    const std::string_view value = info.field(theirs);
    if (!value.empty()) unknown.Add(theirs, value, fmt::format("{} is not there yet", what));
  }
  recipe.unknown = unknown.Take();
  return recipe;
}

}  // namespace ingot::server
