// A job: all that decides the bytes of its pictures, every default written out.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
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
  int min_text_tokens = 256;        // T5 rows are padded to this

  const flux::FluxConfig& flux() const { return models.flux.As<flux::FluxConfig>(); }
  RectifiedFlow flow() const { return flux().guidance_embed ? kFluxDev : kFluxSchnell; }
};

// Opens the files' headers, fills defaults and checks every value.
// kInvalidArgument names the field, what was expected and what was found.
Result<Job> ResolveJob(const JobRequest& request);

}  // namespace ingot
