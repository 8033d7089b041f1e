#include "server/options.h"

#include <cmath>
#include <cstdlib>
#include <optional>
#include <vector>

#include "server/http.h"
#include "server/text.h"

namespace ingot::server {
namespace {

constexpr const char* kStoredName = "options";

// Names and defaults: modules/shared_options.py and modules_forge/shared_options.py.
const std::vector<Option>& Table() {
  using enum OptionUse;
  static const std::vector<Option> kTable = {
      {"sd_model_checkpoint", kHonoured, nullptr},  // null: the first of the list
      {"sd_checkpoint_hash", kShown, ""},
      {"sd_vae", kHonoured, "Automatic"},
      {"forge_preset", kShown, "flux"},
      {"forge_additional_modules", kHonoured, Json::array()},
      {"forge_unet_storage_dtype", kFixed, "Automatic"},
      {"forge_inference_memory", kHonoured, 1024},
      {"forge_async_loading", kShown, "Queue"},
      {"forge_pin_shared_memory", kShown, "CPU"},
      {"CLIP_stop_at_last_layers", kHonoured, 1},
      {"randn_source", kHonoured, "CPU"},
      {"samples_format", kFixed, "png"},
      {"samples_save", kShown, true},
      {"samples_filename_pattern", kShown, ""},
      {"save_images_add_number", kShown, true},
      {"save_to_dirs", kShown, true},
      {"directories_filename_pattern", kShown, "[date]"},
      {"outdir_samples", kShown, ""},
      {"outdir_txt2img_samples", kShown, "outputs/txt2img-images"},
      {"grid_save", kShown, false},
      {"return_grid", kShown, false},
      {"enable_pnginfo", kShown, true},
      {"jpeg_quality", kShown, 80},
      {"emphasis", kFixed, "Original"},
      {"enable_prompt_comments", kShown, true},
      {"comma_padding_backtrack", kShown, 20},
      {"tiling", kFixed, false},
      {"sd_hypernetwork", kFixed, "None"},
      {"sd_vae_decode_method", kFixed, "Full"},
      {"sd_noise_schedule", kFixed, "Default"},
      {"forge_try_reproduce", kFixed, "None"},
      {"eta_ancestral", kFixed, 1.0},
      {"eta_ddim", kFixed, 0.0},
      {"eta_noise_seed_delta", kFixed, 0},
      {"s_churn", kFixed, 0.0},
      {"s_tmin", kShown, 0.0},  // of s_churn
      {"s_tmax", kShown, 0.0},
      {"s_noise", kFixed, 1.0},
      {"s_min_uncond", kFixed, 0.0},
      {"skip_early_cond", kFixed, 0.0},
      {"sigma_min", kFixed, 0.0},
      {"sigma_max", kFixed, 0.0},
      {"rho", kFixed, 0.0},
      {"beta_dist_alpha", kFixed, 0.6},
      {"beta_dist_beta", kFixed, 0.6},
      {"uni_pc_variant", kFixed, "bh1"},
      {"uni_pc_skip_type", kFixed, "time_uniform"},
      {"uni_pc_order", kFixed, 3},
      {"uni_pc_lower_order_final", kFixed, true},
      {"always_discard_next_to_last_sigma", kFixed, false},
      {"sgm_noise_multiplier", kFixed, false},
      {"token_merging_ratio", kFixed, 0.0},
      // Of pictures from pictures, of hires and of faces: jobs of these are refused as such.
      {"token_merging_ratio_hr", kShown, 0.0},
      {"sd_vae_encode_method", kShown, "Full"},
      {"inpainting_mask_weight", kShown, 1.0},
      {"initial_noise_multiplier", kShown, 1.0},
      {"img2img_color_correction", kShown, false},
      {"img2img_fix_steps", kShown, false},
      {"img2img_extra_noise", kShown, 0.0},
      {"use_scale_latent_for_hires_fix", kShown, false},
      {"upscaler_for_img2img", kShown, nullptr},
      {"face_restoration", kFixed, false},
      {"face_restoration_model", kShown, "CodeFormer"},
      {"code_former_weight", kShown, 0.5},
      {"live_previews_enable", kShown, true},
      {"live_previews_image_format", kShown, "png"},
      {"live_preview_refresh_period", kShown, 1000},
      {"show_progress_every_n_steps", kShown, 10},
      {"show_progress_type", kShown, "Approx NN"},
      {"api_enable_requests", kShown, false},
      {"api_forbid_local_requests", kShown, true},
      {"quick_setting_list", kShown, Json::array()},
  };
  return kTable;
}

std::optional<double> NumberOf(const Json& value) {
  if (value.is_number()) return value.get<double>();
  if (!value.is_string() || value.get_ref<const std::string&>().empty()) return std::nullopt;
  const std::string& text = value.get_ref<const std::string&>();
  char* end = nullptr;
  const double number = std::strtod(text.c_str(), &end);
  return end == text.c_str() + text.size() ? std::optional(number) : std::nullopt;
}

bool IsOneOf(const Json& value, std::initializer_list<std::string_view> texts) {
  for (std::string_view text : texts) {
    if (value.is_string() && EqualsIgnoringCase(value.get_ref<const std::string&>(), text))
      return true;
  }
  return false;
}

Status Expected(std::string_view field, std::string_view expected, const Json& found) {
  return InvalidArgument("{}: expected {}, found {}", field, expected, Dump(found).substr(0, 200));
}

// What is only shown has the type that clients expect of it.
Status CheckType(const Json& value, const Json& example, std::string_view field) {
  if (example.is_number() && !NumberOf(value)) return Expected(field, "a number", value);
  if (example.is_array() && !value.is_array()) return Expected(field, "a list", value);
  if (example.is_boolean() && !value.is_boolean() && !value.is_number() &&
      !IsOneOf(value, {"true", "false"})) {
    return Expected(field, "true or false", value);
  }
  if ((example.is_string() || example.is_null()) && !value.is_string()) {
    return Expected(field, "text", value);
  }
  return {};
}

Status CheckModules(const Json& value, std::string_view field, ModelCatalog& models) {
  if (!value.is_array()) return Expected(field, "a list of file names", value);
  for (const Json& module : value) {
    if (!module.is_string()) return Expected(field, "a list of file names", value);
    const std::string& name = module.get_ref<const std::string&>();
    if (name.empty() || IsOneOf(module, {"Automatic", "None", "Use same choices"})) continue;
    if (auto file = models.FindModule(name, field); !file.ok()) return file.status();
  }
  return {};
}

Status CheckHonoured(std::string_view name, const Json& value, std::string_view field,
                     ModelCatalog& models) {
  const std::optional<double> number = NumberOf(value);
  if (name == "CLIP_stop_at_last_layers") {
    if (number && *number >= 1 && *number <= 12) return {};
    return Expected(field, "a number from 1 to 12", value);
  }
  if (name == "forge_inference_memory") {
    if (number && *number >= 0 && *number <= 1 << 30) return {};
    return Expected(field, "a number of MB", value);
  }
  if (name == "randn_source") {
    return IsOneOf(value, {"CPU", "NV", "GPU"}) ? Status()
                                                : Expected(field, "CPU, NV or GPU", value);
  }
  if (name == "forge_additional_modules") return CheckModules(value, field, models);
  if (!value.is_string()) return Expected(field, "a name", value);
  const std::string& text = value.get_ref<const std::string&>();
  if (name == "sd_vae") {
    if (text.empty() || IsOneOf(value, {"Automatic", "None"})) return {};
    return models.Find(text, field, ModelKind::kVae).status();
  }
  return text.empty() ? Status() : models.Find(text, field, ModelKind::kDiffusion).status();
}

}  // namespace

std::span<const Option> AllOptions() { return Table(); }

const Option* FindOption(std::string_view name) {
  for (const Option& option : Table()) {
    if (option.name == name) return &option;
  }
  return nullptr;
}

bool SameValue(const Json& a, const Json& b) {
  if (a == b) return true;
  if (a.is_boolean() || b.is_boolean()) {
    const auto text = [](const Json& value) {
      return value.is_string() ? Lower(value.get<std::string>()) : Dump(value);
    };
    return text(a) == text(b) || (a.is_number() && (a != 0) == b) ||
           (b.is_number() && (b != 0) == a);
  }
  const std::optional<double> x = NumberOf(a), y = NumberOf(b);
  if (x && y) return std::abs(*x - *y) < 1e-9;
  return a.is_string() && b.is_string() &&
         EqualsIgnoringCase(a.get<std::string>(), b.get<std::string>());
}

Status CheckOption(std::string_view name, const Json& value, std::string_view field,
                   ModelCatalog& models) {
  const Option* option = FindOption(name);
  if (option == nullptr || value.is_null()) return {};
  if (option->use == OptionUse::kHonoured) return CheckHonoured(name, value, field, models);
  if (SameValue(value, option->default_value)) return {};
  if (option->use == OptionUse::kShown) return CheckType(value, option->default_value, field);
  if (name == "forge_unet_storage_dtype" && IsOneOf(value, {"Automatic (fp16 LoRA)"})) return {};
  return InvalidArgument("{}: only {} is there yet, found {}", field, Dump(option->default_value),
                         Dump(value).substr(0, 200));
}

Result<Json> OptionStore::All() {
  INGOT_ASSIGN_OR_RETURN(const std::optional<Json> stored, jobs_.Load(kStoredName));
  Json all = Json::object();
  for (const Option& option : Table()) {
    const std::string name(option.name);
    const bool is_stored = stored && stored->is_object() && stored->contains(name);
    all[name] = is_stored ? (*stored)[name] : option.default_value;
  }
  // Clients read a title; a file that has gone keeps its name until another is chosen.
  const auto files = models_.List();
  for (const ModelFileInfo& file : files.ok() ? *files : std::vector<ModelFileInfo>()) {
    Json& model = all["sd_model_checkpoint"];
    if (!file.Holds(ModelKind::kDiffusion)) continue;
    if (!model.is_null() && model != file.name) continue;
    model = file.title;
    all["sd_checkpoint_hash"] = file.sha256;
    break;
  }
  if (all["sd_model_checkpoint"].is_null()) all["sd_model_checkpoint"] = "";
  return all;
}

Status OptionStore::Set(const Json& changes) {
  INGOT_ASSIGN_OR_RETURN(const Json all, All());
  INGOT_ASSIGN_OR_RETURN(std::optional<Json> stored, jobs_.Load(kStoredName));
  Json kept = stored && stored->is_object() ? *stored : Json::object();
  const Json before = kept;
  for (const auto& [name, value] : changes.items()) {
    const Option* option = FindOption(name);
    if (option == nullptr || value.is_null() || SameValue(value, all[name])) continue;
    INGOT_RETURN_IF_ERROR(CheckOption(name, value, name, models_));
    if (name == "sd_checkpoint_hash") continue;  // follows the model
    kept[name] = value;
    if (name == "sd_model_checkpoint" && value == "") {
      kept.erase(name);
    } else if (name == "sd_model_checkpoint") {
      INGOT_ASSIGN_OR_RETURN(const ModelFileInfo file,
                             models_.Find(value.get<std::string>(), name, ModelKind::kDiffusion));
      kept[name] = file.name;
    }
  }
  return kept == before ? Status() : jobs_.Store(kStoredName, kept);
}

}  // namespace ingot::server
