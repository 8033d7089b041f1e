// What all samplers share: linear combinations of latents, and the report of a step.
#pragma once

#include <algorithm>
#include <initializer_list>
#include <span>

#include "sampling/samplers.h"

namespace ingot {

struct Term {
  double coefficient;
  std::span<const float> values;
};

// out = sum of the terms, from the first to the last; out may be one of them. At most six.
inline void Combine(std::span<float> out, std::initializer_list<Term> terms) {
  const Term* term = terms.begin();
  const size_t n = terms.size();
  float c[6] = {};
  for (size_t k = 0; k < n; ++k) c[k] = static_cast<float>(term[k].coefficient);
  for (size_t i = 0; i < out.size(); ++i) {
    float sum = c[0] * term[0].values[i];
    for (size_t k = 1; k < n; ++k) sum += c[k] * term[k].values[i];
    out[i] = sum;
  }
}

inline int NumSteps(const SamplerRun& run) { return static_cast<int>(run.sigmas.size()) - 1; }

inline std::span<float> Buffer(const SamplerRun& run, int index) {
  return run.scratch.subspan(static_cast<size_t>(index) * run.x.size(), run.x.size());
}

// Evaluates the denoiser at the start of a step and reports the step.
inline Status BeginStep(const SamplerRun& run, int step, float sigma, std::span<float> denoised) {
  INGOT_RETURN_IF_ERROR(run.denoise(run.x, sigma, denoised));
  if (!run.on_step) return {};
  return run.on_step(
      {.step_idx = step, .num_steps = NumSteps(run), .sigma = sigma, .denoised = denoised});
}

}  // namespace ingot
