#include "engine/questions.h"

#include "base/sha256.h"
#include "engine/files.h"
#include "formats/png.h"
#include "library/tokenizers.h"
#include "text/prompt.h"

namespace ingot {
namespace {

const Component* FindDiffusion(const ModelFile& model) {
  for (const Component& component : model.components) {
    if (component.kind == ComponentKind::kFlux) return &component;
  }
  return nullptr;
}

// The hash of a file is known from the first job with it on.
Json Remembered(const LibraryEntry& entry) {
  if (!entry.model.ok()) return nullptr;
  const std::optional<std::string> hash = RememberedSha256(entry.model->file->file(), HashFolder());
  return hash ? Json(*hash) : Json(nullptr);
}

// Keys of a job; a guidance of null: the model takes none.
Json DefaultsJson(const Component& diffusion) {
  const JobDefaults defaults = DefaultsOf(diffusion);
  const bool has_guidance = diffusion.As<flux::FluxConfig>().guidance_embed;
  return {{"width", defaults.width},
          {"height", defaults.height},
          {"steps", defaults.steps},
          {"sampler", defaults.sampler},
          {"scheduler", defaults.scheduler},
          {"cfg", defaults.cfg_scale},
          {"guidance", has_guidance ? Json(defaults.distilled_guidance) : Json()}};
}

Json SetOf(const std::filesystem::path& models_dir, const LibraryEntry& entry,
           const Component& diffusion, OpenModelFiles& files) {
  const Result<ModelSet> set =
      ResolveModels({.models_dir = models_dir, .diffusion = entry.path}, &files);
  Json json = {{"diffusion", entry.path.string()},
               {"clip", nullptr},
               {"t5", nullptr},
               {"vae", nullptr},
               {"missing", nullptr},
               {"defaults", DefaultsJson(diffusion)}};
  if (set.ok()) {
    json["clip"] = set->clip.path();
    json["t5"] = set->t5.path();
    json["vae"] = set->vae.path();
  } else {
    json["missing"] = set.status().message();
  }
  return json;
}

}  // namespace

Json Components(const ModelFile& model) {
  Json components = Json::array();
  for (const Component& component : model.components) {
    components.push_back({{"component", Describe(component.kind)},
                          {"summary", component.Summary()},
                          {"num_tensors", component.tensors.by_name->size()},
                          {"num_bytes", component.tensors.num_bytes()}});
  }
  return components;
}

Json Inspection(const ModelFile& model) {
  const TensorFile& file = *model.file;
  Json types, tensors = Json::array();
  for (const auto& [name, total] : TotalsByType(file)) {
    types[name] = {{"num_tensors", total.num_tensors},
                   {"num_elements", total.num_elements},
                   {"num_bytes", total.num_bytes}};
  }
  for (const TensorEntry& entry : file.entries()) {
    tensors.push_back({{"name", entry.name},
                       {"type", Name(entry.dtype)},
                       {"shape", std::vector<int64_t>(entry.shape.begin(), entry.shape.end())},
                       {"num_bytes", entry.num_bytes}});
  }
  const std::string* architecture = file.metadata().FindString("general.architecture");
  return {{"path", file.path()},
          {"format", file.kind()},
          {"architecture", architecture != nullptr ? Json(*architecture) : Json(nullptr)},
          {"components", Components(model)},
          {"types", types},
          {"tensors", tensors}};
}

Result<Json> ListModels(const std::filesystem::path& models_dir, OpenModelFiles& files) {
  INGOT_ASSIGN_OR_RETURN(const std::vector<LibraryEntry> entries, ScanModels(models_dir, &files));
  Json models = Json::array(), sets = Json::array();
  for (const LibraryEntry& entry : entries) {
    const bool ok = entry.model.ok();
    std::error_code ignored;
    const uintmax_t num_bytes = std::filesystem::file_size(entry.path, ignored);
    models.push_back({{"path", entry.path.string()},
                      {"num_bytes", ignored ? Json() : Json(num_bytes)},
                      {"sha256", Remembered(entry)},
                      {"components", ok ? Components(*entry.model) : Json::array()},
                      {"error", ok ? Json(nullptr) : Json(entry.model.status().message())}});
    const Component* diffusion = ok ? FindDiffusion(*entry.model) : nullptr;
    if (diffusion != nullptr) sets.push_back(SetOf(models_dir, entry, *diffusion, files));
  }
  return Json{{"models_dir", models_dir.string()}, {"models", models}, {"sets", sets}};
}

Json JobChoices() {
  Json samplers = Json::array(), schedulers = Json::array();
  for (const Sampler& sampler : Samplers()) {
    samplers.push_back({{"name", sampler.name},
                        {"default_eta", sampler.takes_eta ? Json(sampler.default_eta) : Json()}});
  }
  for (const Scheduler& scheduler : Schedulers()) {
    schedulers.push_back({{"name", scheduler.name}, {"label", scheduler.label}});
  }
  Json precisions = Json::array();
  for (Precision precision : {Precision::kFast, Precision::kDefault, Precision::kExact}) {
    precisions.push_back(Name(precision));
  }
  return {{"samplers", samplers},
          {"schedulers", schedulers},
          {"rngs", {"cpu", "nv"}},
          {"precisions", precisions},
          {"limits",
           {{"min_side", kJobLimits.min_side},
            {"max_side", kJobLimits.max_side},
            {"side_multiple", kJobLimits.side_multiple},
            {"max_steps", kJobLimits.max_steps},
            {"max_batch", kJobLimits.max_batch},
            {"max_cfg", kJobLimits.max_cfg_scale},
            {"max_guidance", kJobLimits.max_distilled_guidance}}}};
}

Result<Json> CountTokens(std::string_view prompt, const ModelRequest& models) {
  INGOT_ASSIGN_OR_RETURN(const ModelSet set, ResolveModels(models));
  INGOT_ASSIGN_OR_RETURN(const ClipTokenizer clip, LoadClipTokenizer(set.clip));
  INGOT_ASSIGN_OR_RETURN(const T5Tokenizer t5, LoadT5Tokenizer(set.t5));
  INGOT_ASSIGN_OR_RETURN(const std::vector<PromptSegment> segments,
                         ParsePrompt(StripComments(prompt), Emphasis::kOriginal));
  size_t num_clip = 0, num_t5 = 0;
  for (const PromptSegment& segment : segments) {
    if (IsBreak(segment)) continue;
    num_clip += clip.Encode(segment.text).size();
    num_t5 += t5.Encode(segment.text).size();
  }
  return Json{{"clip", num_clip}, {"t5", num_t5}};
}

Result<std::string> PngBytes(int width, int height, std::span<const uint8_t> pixels) {
  INGOT_ASSIGN_OR_RETURN(
      const std::vector<std::byte> bytes,
      EncodePng({.width = width, .height = height, .pixels = {pixels.begin(), pixels.end()}}));
  return std::string(reinterpret_cast<const char*>(bytes.data()), bytes.size());
}

}  // namespace ingot
