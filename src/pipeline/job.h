// A job: all that decides the bytes of its pictures, every default written out.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "graph/passes/precision.h"
#include "library/library.h"
#include "sampling/noise.h"
#include "sampling/samplers.h"
#include "sampling/schedule.h"

namespace ingot {

// What a caller asks for; an unset field takes the model's default.
struct JobRequest {
  std::string prompt;
  std::string negative_prompt;
  ModelRequest models;
  std::optional<int> width, height, steps, batch;
  std::optional<uint64_t> seed;  // unset: drawn at random, then written into the job
  std::optional<std::string> sampler, scheduler, rng, precision;
  std::optional<double> cfg_scale, distilled_guidance, eta;
};

// Immutable once resolved. Pictures of a batch have the seeds seed, seed + 1, ….
struct Job {
  std::string prompt;
  std::string negative_prompt;
  ModelSet models;
  int width = 0, height = 0;  // multiples of 8
  int steps = 0;
  int batch = 1;
  uint64_t seed = 0;
  const Sampler* sampler = nullptr;
  const Scheduler* scheduler = nullptr;
  Rng rng = Rng::kCpu;
  Precision precision = Precision::kDefault;
  double cfg_scale = 1.0;
  double distilled_guidance = 3.5;  // used by guidance-distilled models only
  // Share of fresh noise; unset: the sampler's own (always, where the sampler has none).
  std::optional<double> eta;
  int min_text_tokens = 256;  // T5 rows are padded to this

  const flux::FluxConfig& flux() const { return models.flux.As<flux::FluxConfig>(); }
  RectifiedFlow flow() const { return flux().guidance_embed ? kFluxDev : kFluxSchnell; }
};

// Of every job, whatever its model; both ends are allowed.
struct JobLimits {
  int min_side = 64, max_side = 8192, side_multiple = 8;
  int max_steps = kMaxSteps, max_batch = 64;
  double max_cfg_scale = 100, max_distilled_guidance = 100;
};
inline constexpr JobLimits kJobLimits;

// What a job takes where the request says nothing: a diffusion file may bring its own in its
// metadata (ingot.default_width, _height, _steps).
struct JobDefaults {
  int width = 1024, height = 1024, steps = 0;
  std::string_view sampler = "Euler";
  std::string_view scheduler = "Simple";  // what Flux needs
  double cfg_scale = 1.0;
  double distilled_guidance = 3.5;
};
JobDefaults DefaultsOf(const Component& flux);

// Opens the files' headers, fills defaults and checks every value.
// kInvalidArgument names the field, what was expected and what was found.
Result<Job> ResolveJob(const JobRequest& request, OpenModelFiles* files = nullptr);

}  // namespace ingot
