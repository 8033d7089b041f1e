#include "pipeline/job.h"

#include <cmath>
#include <random>

#include "formats/names.h"

namespace ingot {
namespace {

constexpr uint64_t kMaxRandomSeed = 4294967293;  // Forge draws from [0, this]

Status CheckRange(const char* field, double value, double low, double high) {
  if (value >= low && value <= high) return {};  // false for NaN
  return InvalidArgument("{}: expected a number from {} to {}, found {}", field, low, high, value);
}

// The prompt goes into the picture's text, which is UTF-8 without NUL.
Status CheckText(const char* field, const std::string& text) {
  if (IsUtf8(text) && text.find('\0') == std::string::npos) return {};
  return InvalidArgument("{}: expected UTF-8 without NUL, found other bytes", field);
}

Status CheckSide(const char* field, int value) {
  if (value >= kJobLimits.min_side && value <= kJobLimits.max_side &&
      value % kJobLimits.side_multiple == 0) {
    return {};
  }
  return InvalidArgument("{}: expected a multiple of {} from {} to {}, found {}", field,
                         kJobLimits.side_multiple, kJobLimits.min_side, kJobLimits.max_side, value);
}

// A default that the diffusion file carries as metadata, else Ingot's own. A
// file's absurd value is found by the checks that every value goes through.
int FileDefault(const Component& flux, const char* key, int otherwise) {
  const std::optional<int64_t> value = flux.tensors.file->metadata().FindInt(key);
  return value && std::abs(*value) < (1 << 20) ? static_cast<int>(*value) : otherwise;
}

uint64_t RandomSeed() {
  std::random_device device;
  return std::uniform_int_distribution<uint64_t>(0, kMaxRandomSeed)(device);
}

Status CheckValues(const Job& job) {
  INGOT_RETURN_IF_ERROR(CheckSide("width", job.width));
  INGOT_RETURN_IF_ERROR(CheckSide("height", job.height));
  INGOT_RETURN_IF_ERROR(CheckRange("steps", job.steps, 1, kJobLimits.max_steps));
  INGOT_RETURN_IF_ERROR(CheckRange("batch", job.batch, 1, kJobLimits.max_batch));
  INGOT_RETURN_IF_ERROR(CheckRange("cfg", job.cfg_scale, 0, kJobLimits.max_cfg_scale));
  INGOT_RETURN_IF_ERROR(
      CheckRange("guidance", job.distilled_guidance, 0, kJobLimits.max_distilled_guidance));
  INGOT_RETURN_IF_ERROR(CheckRange("eta", job.eta.value_or(0), 0, 1));
  INGOT_RETURN_IF_ERROR(CheckRange("text tokens of the model", job.min_text_tokens, 1, 4096));
  const auto& vae = job.models.vae.As<vae::VaeConfig>();
  if (vae.scale() != 8) {
    return Unsupported("{}: expected a VAE that makes pictures 8 times smaller, found {} times",
                       job.models.vae.path(), vae.scale());
  }
  return {};
}

}  // namespace

JobDefaults DefaultsOf(const Component& flux) {
  const bool distilled = flux.As<flux::FluxConfig>().guidance_embed;
  JobDefaults defaults{.steps = FileDefault(flux, "ingot.default_steps", distilled ? 20 : 4)};
  defaults.width = FileDefault(flux, "ingot.default_width", defaults.width);
  defaults.height = FileDefault(flux, "ingot.default_height", defaults.height);
  return defaults;
}

Result<Job> ResolveJob(const JobRequest& request, OpenModelFiles* files) {
  INGOT_RETURN_IF_ERROR(CheckText("prompt", request.prompt));
  INGOT_RETURN_IF_ERROR(CheckText("negative prompt", request.negative_prompt));
  constexpr JobDefaults kNames;  // those do not differ by file
  INGOT_ASSIGN_OR_RETURN(const Sampler* sampler,
                         FindSampler(request.sampler ? *request.sampler : kNames.sampler));
  // Flux needs Simple: Forge's "Automatic" gives a black picture.
  std::string_view scheduler_name = request.scheduler ? *request.scheduler : kNames.scheduler;
  if (scheduler_name == "Automatic" || scheduler_name == "automatic") {
    scheduler_name = kNames.scheduler;
  }
  INGOT_ASSIGN_OR_RETURN(const Scheduler* scheduler, FindScheduler(scheduler_name));
  INGOT_ASSIGN_OR_RETURN(const Rng rng, FindRng(request.rng.value_or("cpu")));
  INGOT_ASSIGN_OR_RETURN(const Precision precision,
                         FindPrecision(request.precision.value_or("default")));
  INGOT_ASSIGN_OR_RETURN(ModelSet models, ResolveModels(request.models, files));

  const Component& flux = models.flux;
  const JobDefaults defaults = DefaultsOf(flux);
  Job job{.prompt = request.prompt,
          .negative_prompt = request.negative_prompt,
          .models = models,
          .width = request.width.value_or(defaults.width),
          .height = request.height.value_or(defaults.height),
          .steps = request.steps.value_or(defaults.steps),
          .batch = request.batch.value_or(1),
          .seed = request.seed ? *request.seed : RandomSeed(),
          .sampler = sampler,
          .scheduler = scheduler,
          .rng = rng,
          .precision = precision,
          .cfg_scale = request.cfg_scale.value_or(defaults.cfg_scale),
          .distilled_guidance = request.distilled_guidance.value_or(defaults.distilled_guidance),
          .eta = request.eta == sampler->default_eta || !sampler->takes_eta ? std::nullopt
                                                                            : request.eta,
          .min_text_tokens = FileDefault(flux, "ingot.min_text_tokens", 256)};
  INGOT_RETURN_IF_ERROR(CheckValues(job));
  return job;
}

}  // namespace ingot
