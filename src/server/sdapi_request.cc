#include "server/sdapi_request.h"

#include <cmath>

#include "server/http.h"
#include "server/infotext.h"
#include "server/options.h"
#include "server/text.h"

namespace ingot::server {
namespace {

constexpr int kMaxPictures = 64;        // of a job (pipeline/job.cc)
constexpr double kMaxSeed = 1LL << 53;  // whole numbers that every JSON client holds

std::string TextOf(const Json& values, const char* key) {
  const auto found = values.find(key);
  return found != values.end() && found->is_string() ? found->get<std::string>() : std::string();
}
std::optional<double> NumberOf(const Json& values, const char* key) {
  const auto found = values.find(key);
  if (found == values.end() || !found->is_number()) return std::nullopt;
  return found->get<double>();
}
bool IsTrue(const Json& values, const char* key) {
  const auto found = values.find(key);
  return found != values.end() && found->is_boolean() && found->get<bool>();
}

Status NotThereYet(std::string_view field, std::string_view what) {
  return InvalidArgument("{}: {} is not there yet", field, what);
}

// Fields that the caller left out, from a picture's text (Forge's `infotext`). Models named in it
// are not: disable_weights_auto_swap.
Json FilledFromInfotext(Json values) {
  const std::string text = TextOf(values, "infotext");
  if (text.empty()) return values;
  const Infotext info = ParseInfotext(text);
  const auto set_text = [&](const char* key, std::string_view value) {
    if (!values.contains(key) && !value.empty()) values[key] = value;
  };
  const auto set_number = [&](const char* key, std::string_view value) {
    const Json number = Json::parse(value, nullptr, false);
    if (!values.contains(key) && number.is_number()) values[key] = number;
  };
  set_text("prompt", info.prompt);
  set_text("negative_prompt", info.negative_prompt);
  set_text("sampler_name", info.field("Sampler"));
  set_text("scheduler", info.field("Schedule type"));
  set_number("steps", info.field("Steps"));
  set_number("cfg_scale", info.field("CFG scale"));
  set_number("distilled_cfg_scale", info.field("Distilled CFG Scale"));
  set_number("seed", info.field("Seed"));
  set_number("width", info.field("Size-1"));
  set_number("height", info.field("Size-2"));
  set_number("eta", info.field("Eta").empty() ? info.field("Eta DDIM") : info.field("Eta"));
  return values;
}

// An entry of alwayson_scripts that is switched off, or that moves memory alone.
bool IsHarmless(const std::string& script, const Json& args) {
  if (script == "never oom integrated" || args.is_null() || args.empty()) return true;
  if (!args.is_array()) return false;
  const auto is_off = [](const Json& arg) {
    if (arg.is_object()) {
      const auto enabled = arg.find("enabled");
      return arg.empty() || (enabled != arg.end() && *enabled == false);
    }
    return arg.is_null() || arg == false || arg == "" || arg == 0;
  };
  if (args[0].is_boolean()) return !args[0].get<bool>();  // "enabled" comes first
  for (const Json& arg : args) {
    if (!is_off(arg)) return false;
  }
  return true;
}

Status CheckScripts(const Json& values) {
  const std::string script = TextOf(values, "script_name");
  if (!script.empty() && !EqualsIgnoringCase(script, "None")) {
    return InvalidArgument("script_name: Script '{}' not found", script.substr(0, 200));
  }
  const auto scripts = values.find("alwayson_scripts");
  if (scripts == values.end() || !scripts->is_object()) return {};
  for (const auto& [name, entry] : scripts->items()) {
    Json args;
    if (entry.is_object() && entry.contains("args")) args = entry["args"];
    if (entry.is_array()) args = entry;
    if (IsHarmless(Lower(name), args)) continue;
    return InvalidArgument("alwayson_scripts: always on script {} not found", name.substr(0, 200));
  }
  return {};
}

// "DPM++ 2M Karras" is the sampler "DPM++ 2M" with the scheduler Karras.
void SplitScheduler(SamplerChoice& choice) {
  const std::string whole = Lower(choice.sampler);
  for (const Scheduler& scheduler : Schedulers()) {
    for (std::string_view name : {scheduler.label, scheduler.name, scheduler.alias}) {
      const std::string end = Lower(fmt::format(" {}", name));
      if (name.empty() || !whole.ends_with(end)) continue;
      const std::string sampler = choice.sampler.substr(0, whole.size() - end.size());
      if (FindSampler(sampler).ok()) {
        choice = {sampler, std::string(scheduler.label)};
        return;
      }
    }
  }
}

// Forge's hint, when somebody gave one. Its default is none: what the job needs stays free anyway.
std::optional<int64_t> InferenceMemory(const Json& values, const Json& settings) {
  constexpr const char* kName = "forge_inference_memory";
  const Json& memory = settings[kName];
  const Json overrides = values.value("override_settings", Json::object());
  if (!overrides.contains(kName) && SameValue(memory, FindOption(kName)->default_value)) {
    return std::nullopt;
  }
  const Json number =
      memory.is_string() ? Json::parse(memory.get<std::string>(), nullptr, false) : memory;
  if (!number.is_number()) return std::nullopt;
  return static_cast<int64_t>(number.get<double>());
}

// What would change the picture and does not exist.
Status CheckFeatures(const Json& values) {
  if (IsTrue(values, "enable_hr")) return NotThereYet("enable_hr", "hires fix");
  if (IsTrue(values, "restore_faces")) return NotThereYet("restore_faces", "face restoration");
  if (IsTrue(values, "tiling")) return NotThereYet("tiling", "tiling");
  if (NumberOf(values, "subseed_strength").value_or(0) != 0) {
    return NotThereYet("subseed_strength", "a variation of a seed");
  }
  if (NumberOf(values, "seed_resize_from_w").value_or(0) > 0 &&
      NumberOf(values, "seed_resize_from_h").value_or(0) > 0) {
    return NotThereYet("seed_resize_from_w", "noise of another size");
  }
  const std::string refiner = TextOf(values, "refiner_checkpoint");
  if (!refiner.empty() && !EqualsIgnoringCase(refiner, "None")) {
    return NotThereYet("refiner_checkpoint", "a refiner");
  }
  if (NumberOf(values, "s_churn").value_or(0) != 0) return NotThereYet("s_churn", "churn");
  if (NumberOf(values, "s_min_uncond").value_or(0) != 0) {
    return NotThereYet("s_min_uncond", "guidance that is skipped");
  }
  const Json mask = values.value("mask", Json());
  if (mask.is_string() && mask != "") return NotThereYet("mask", "a mask");
  const Json init_images = values.value("init_images", Json());
  if (init_images.is_array() && !init_images.empty()) {
    return NotThereYet("init_images", "a picture from pictures");
  }
  return CheckScripts(values);
}

// s_noise is a factor on fresh noise: without any it says nothing.
Status CheckNoise(const Json& values, const std::string& sampler) {
  const double s_noise = NumberOf(values, "s_noise").value_or(1);
  if (s_noise == 1 || s_noise == 0 || sampler.empty()) return {};
  const Result<const Sampler*> found = FindSampler(sampler);
  if (!found.ok() || (*found)->noise == NoiseKind::kNone) return {};
  return InvalidArgument("s_noise: only 1 is there yet with {}, found {}", sampler, s_noise);
}

// options, with what the request sets in their place.
Result<Json> OptionsOf(const Json& values, Json options, ModelCatalog& models) {
  const auto overrides = values.find("override_settings");
  if (overrides == values.end() || !overrides->is_object()) return options;
  for (const auto& [name, value] : overrides->items()) {
    const Option* option = FindOption(name);
    if (option == nullptr || option->use == OptionUse::kShown || value.is_null()) continue;
    INGOT_RETURN_IF_ERROR(CheckOption(name, value, "override_settings." + name, models));
    options[name] = value;
  }
  return options;
}

// Which file is which part, of Forge's flat list and A1111's sd_vae; the list wins.
Status SetModels(const Json& options, ModelCatalog& models, Json& job) {
  Json files = Json::object();
  const std::string checkpoint = TextOf(options, "sd_model_checkpoint");
  if (!checkpoint.empty()) {
    INGOT_ASSIGN_OR_RETURN(const ModelFileInfo file,
                           models.Find(checkpoint, "sd_model_checkpoint", ModelKind::kDiffusion));
    files["diffusion"] = file.path;
  }
  Json modules = options.value("forge_additional_modules", Json::array());
  if (!modules.is_array()) modules = Json::array();
  modules.insert(modules.begin(), options.value("sd_vae", Json()));
  for (const Json& module : modules) {
    const std::string name = module.is_string() ? module.get<std::string>() : "";
    if (name.empty() || EqualsIgnoringCase(name, "Automatic") || EqualsIgnoringCase(name, "None") ||
        EqualsIgnoringCase(name, "Use same choices")) {
      continue;
    }
    INGOT_ASSIGN_OR_RETURN(const ModelFileInfo file,
                           models.FindModule(name, "forge_additional_modules"));
    if (file.Holds(ModelKind::kVae)) files["vae"] = file.path;
    if (file.Holds(ModelKind::kClip)) files["clip"] = file.path;
    if (file.Holds(ModelKind::kT5)) files["t5"] = file.path;
  }
  if (!files.empty()) job["files"] = files;
  return {};
}

// "GPU" is A1111's CUDA generator, which NV is an implementation of: exact where CUDA itself does
// not depend on the card.
std::string RngOf(const Json& options) {
  return EqualsIgnoringCase(TextOf(options, "randn_source"), "CPU") ? "cpu" : "nv";
}

// The number of pictures, of fields that may be 0.
Result<int> NumPictures(const Json& values) {
  const double n_iter = std::max(1.0, NumberOf(values, "n_iter").value_or(1));
  const double batch_size = std::max(1.0, NumberOf(values, "batch_size").value_or(1));
  if (n_iter * batch_size > kMaxPictures) {
    return InvalidArgument("n_iter: expected at most {} pictures with batch_size, found {}",
                           kMaxPictures, n_iter * batch_size);
  }
  return static_cast<int>(n_iter * batch_size);
}

// Zero and less is how clients say nothing.
void SetIfPositive(const Json& values, const char* key, Json& job) {
  const double value = NumberOf(values, key).value_or(0);
  if (value > 0) job[key] = static_cast<int>(value);
}

}  // namespace

const Schema& Txt2ImgSchema() {
  using enum FieldType;
  constexpr double kMaxCount = 1000;
  static const Schema kSchema = {
      .name = "Txt2ImgRequest",
      .fields = {
          {.name = "prompt", .type = kString, .description = "what the picture shows"},
          {.name = "negative_prompt", .type = kString, .description = "needs cfg_scale above 1"},
          {.name = "styles", .type = kArray, .description = "unknown names are ignored"},
          {.name = "seed",
           .type = kInteger,
           .description = "of the first picture; -1: random",
           .minimum = -kMaxSeed,
           .maximum = kMaxSeed},
          {.name = "subseed", .type = kInteger, .default_value = -1},
          {.name = "subseed_strength", .type = kNumber, .default_value = 0.0},
          {.name = "seed_resize_from_h", .type = kInteger, .default_value = -1},
          {.name = "seed_resize_from_w", .type = kInteger, .default_value = -1},
          {.name = "sampler_name", .type = kString, .description = "name or alias, any case"},
          {.name = "scheduler", .type = kString, .description = "name or label, any case"},
          {.name = "batch_size",
           .type = kInteger,
           .default_value = 1,
           .minimum = -1,
           .maximum = kMaxPictures},
          {.name = "n_iter",
           .type = kInteger,
           .default_value = 1,
           .minimum = -1,
           .maximum = kMaxPictures},
          {.name = "steps",
           .type = kInteger,
           .description = "absent or 0: the model's",
           .minimum = -1,
           .maximum = kMaxCount},
          {.name = "cfg_scale",
           .type = kNumber,
           .description = "absent: 1; above 1 every step costs twice",
           .minimum = 0,
           .maximum = 100},
          {.name = "distilled_cfg_scale",
           .type = kNumber,
           .description = "guidance of FLUX.1 dev; absent: 3.5",
           .minimum = 0,
           .maximum = 100},
          {.name = "width",
           .type = kInteger,
           .description = "a multiple of 8; absent or 0: the model's",
           .minimum = -1,
           .maximum = 8192},
          {.name = "height",
           .type = kInteger,
           .description = "as width",
           .minimum = -1,
           .maximum = 8192},
          {.name = "restore_faces", .type = kBoolean},
          {.name = "tiling", .type = kBoolean},
          {.name = "do_not_save_samples", .type = kBoolean, .default_value = false},
          {.name = "do_not_save_grid", .type = kBoolean, .default_value = false},
          {.name = "eta",
           .type = kNumber,
           .description = "share of fresh noise; absent: the sampler's",
           .minimum = 0,
           .maximum = 1},
          {.name = "denoising_strength", .type = kNumber, .description = "of hires fix alone"},
          {.name = "s_min_uncond", .type = kNumber},
          {.name = "s_churn", .type = kNumber},
          {.name = "s_tmax", .type = kNumber},
          {.name = "s_tmin", .type = kNumber},
          {.name = "s_noise", .type = kNumber},
          {.name = "override_settings",
           .type = kObject,
           .description = "options of this job alone"},
          {.name = "override_settings_restore_afterwards",
           .type = kBoolean,
           .description = "without effect: they belong to the job",
           .default_value = true},
          {.name = "refiner_checkpoint", .type = kString},
          {.name = "refiner_switch_at", .type = kNumber},
          {.name = "disable_extra_networks", .type = kBoolean, .default_value = false},
          {.name = "firstpass_image", .type = kString, .max_length = size_t{64} << 20},
          {.name = "comments", .type = kObject},
          {.name = "enable_hr", .type = kBoolean, .default_value = false},
          {.name = "firstphase_width", .type = kInteger, .default_value = 0},
          {.name = "firstphase_height", .type = kInteger, .default_value = 0},
          {.name = "hr_scale", .type = kNumber, .default_value = 2.0},
          {.name = "hr_upscaler", .type = kString},
          {.name = "hr_second_pass_steps", .type = kInteger, .default_value = 0},
          {.name = "hr_resize_x", .type = kInteger, .default_value = 0},
          {.name = "hr_resize_y", .type = kInteger, .default_value = 0},
          {.name = "hr_checkpoint_name", .type = kString},
          {.name = "hr_additional_modules", .type = kArray},
          {.name = "hr_sampler_name", .type = kString},
          {.name = "hr_scheduler", .type = kString},
          {.name = "hr_prompt", .type = kString, .default_value = ""},
          {.name = "hr_negative_prompt", .type = kString, .default_value = ""},
          {.name = "hr_cfg", .type = kNumber, .default_value = 1.0},
          {.name = "hr_distilled_cfg", .type = kNumber, .default_value = 3.5},
          {.name = "init_images",
           .type = kArray,
           .description = "accepted empty, as some clients send it"},
          {.name = "mask", .type = kString, .max_length = size_t{64} << 20},
          {.name = "force_task_id",
           .type = kString,
           .description = "id of /internal/progress",
           .max_length = 200},
          {.name = "sampler_index",
           .type = kString,
           .description = "used when sampler_name is empty"},
          {.name = "script_name", .type = kString},
          {.name = "script_args", .type = kAny, .default_value = Json::array()},
          {.name = "send_images", .type = kBoolean, .default_value = true},
          {.name = "save_images",
           .type = kBoolean,
           .description = "without effect: every picture stays in the history",
           .default_value = false},
          {.name = "alwayson_scripts", .type = kObject, .default_value = Json::object()},
          {.name = "infotext",
           .type = kString,
           .description = "a picture's text; fills what the request leaves out"}}};
  return kSchema;
}

Result<SamplerChoice> ChooseSampler(std::string_view sampler, std::string_view scheduler) {
  SamplerChoice choice{std::string(Trim(sampler)), std::string(Trim(scheduler))};
  if (!choice.sampler.empty() && !FindSampler(choice.sampler).ok()) SplitScheduler(choice);
  if (EqualsIgnoringCase(choice.scheduler, "Automatic")) choice.scheduler.clear();
  if (!choice.sampler.empty()) {
    const Result<const Sampler*> found = FindSampler(choice.sampler);
    if (!found.ok()) {
      return InvalidArgument("sampler_name: Sampler not found: {}", found.status().message());
    }
    choice.sampler = (*found)->name;
  }
  if (!choice.scheduler.empty()) {
    const Result<const Scheduler*> found = FindScheduler(choice.scheduler);
    if (!found.ok()) return InvalidArgument("scheduler: {}", found.status().message());
    choice.scheduler = (*found)->label;
  }
  return choice;
}

Status CheckPrompt(std::string_view prompt, std::string_view field) {
  // Each ends at the first of its kind: no backtracking, whatever the text.
  for (size_t open = prompt.find('<'); open != std::string_view::npos;
       open = prompt.find('<', open + 1)) {
    const std::string tag = Lower(prompt.substr(open + 1, 9));
    for (std::string_view kind : {"lora:", "lyco:", "hypernet:"}) {
      if (!tag.starts_with(kind)) continue;
      const std::string_view whole = prompt.substr(open, prompt.find('>', open) - open + 1);
      return NotThereYet(field, fmt::format("'{}'", whole.substr(0, 100)));
    }
  }
  std::vector<size_t> opened;
  for (size_t i = 0; i < prompt.size(); ++i) {
    if (prompt[i] == '\\') {
      ++i;
    } else if (prompt[i] == '[') {
      opened.push_back(i);
    } else if (prompt[i] == ']' && !opened.empty()) {
      const std::string_view inside = prompt.substr(opened.back() + 1, i - opened.back() - 1);
      opened.pop_back();
      const size_t colon = inside.rfind(':');
      const std::string_view when =
          colon == std::string_view::npos ? "" : Trim(inside.substr(colon + 1));
      const bool is_edit =
          !when.empty() && when.find_first_not_of("0123456789.") == std::string_view::npos;
      if (is_edit || inside.find('|') != std::string_view::npos) {
        return NotThereYet(field, fmt::format("prompt editing, '[{}]',", inside.substr(0, 100)));
      }
    }
  }
  for (size_t at = prompt.find("AND"); at != std::string_view::npos;
       at = prompt.find("AND", at + 1)) {
    const auto is_space = [&](size_t i) {
      return i < prompt.size() && Trim(prompt.substr(i, 1)).empty();
    };
    if (at > 0 && is_space(at - 1) && is_space(at + 3)) {
      return NotThereYet(field, "'AND' between prompts (write 'and' for the word)");
    }
  }
  return {};
}

Result<Submission> SubmissionFromTxt2Img(const Json& given, const Json& options,
                                         ModelCatalog& models) {
  const Json values = FilledFromInfotext(given);
  INGOT_RETURN_IF_ERROR(CheckFeatures(values));
  if (!IsTrue(values, "disable_extra_networks")) {
    INGOT_RETURN_IF_ERROR(CheckPrompt(TextOf(values, "prompt"), "prompt"));
    INGOT_RETURN_IF_ERROR(CheckPrompt(TextOf(values, "negative_prompt"), "negative_prompt"));
  }
  const std::string sampler_name = TextOf(values, "sampler_name");
  INGOT_ASSIGN_OR_RETURN(
      const SamplerChoice choice,
      ChooseSampler(sampler_name.empty() ? TextOf(values, "sampler_index") : sampler_name,
                    TextOf(values, "scheduler")));
  INGOT_RETURN_IF_ERROR(CheckNoise(values, choice.sampler));
  INGOT_ASSIGN_OR_RETURN(const int num_pictures, NumPictures(values));
  INGOT_ASSIGN_OR_RETURN(const Json settings, OptionsOf(values, options, models));

  Json job = {{"prompt", TextOf(values, "prompt")},
              {"negative_prompt", TextOf(values, "negative_prompt")},
              {"batch", num_pictures},
              {"rng", RngOf(settings)}};
  for (const char* key : {"width", "height", "steps"}) SetIfPositive(values, key, job);
  const double seed = NumberOf(values, "seed").value_or(-1);
  if (seed >= 0) job["seed"] = static_cast<uint64_t>(seed);
  if (!choice.sampler.empty()) job["sampler"] = choice.sampler;
  if (!choice.scheduler.empty()) job["scheduler"] = choice.scheduler;
  if (const auto cfg = NumberOf(values, "cfg_scale")) job["cfg"] = *cfg;
  if (const auto guidance = NumberOf(values, "distilled_cfg_scale")) job["guidance"] = *guidance;
  if (const auto eta = NumberOf(values, "eta")) job["eta"] = *eta;
  INGOT_RETURN_IF_ERROR(SetModels(settings, models, job));

  Json request = values;
  for (const char* key : {"init_images", "mask", "firstpass_image"}) request.erase(key);
  return Submission{.request = job,
                    .door_state = {{"door", "sdapi"},
                                   {"request", request},
                                   {"task_id", TextOf(values, "force_task_id")},
                                   {"clip_skip", settings["CLIP_stop_at_last_layers"]}},
                    .forge_inference_memory = InferenceMemory(values, settings)};
}

}  // namespace ingot::server
