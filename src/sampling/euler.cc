// One-step samplers: Euler, Euler a, Heun, DDIM, LCM.
#include <cmath>

#include "sampling/step.h"

namespace ingot {

Status SampleEuler(const SamplerRun& run) {
  const std::span<float> denoised = Buffer(run, 0);
  for (int i = 0; i < NumSteps(run); ++i) {
    INGOT_RETURN_IF_ERROR(BeginStep(run, i, run.sigmas[i], denoised));
    const double ratio = double{run.sigmas[i + 1]} / run.sigmas[i];
    Combine(run.x, {{ratio, run.x}, {1.0 - ratio, denoised}});
  }
  return {};
}

Status SampleEulerAncestral(const SamplerRun& run) {
  const std::span<float> denoised = Buffer(run, 0), noise = Buffer(run, 1);
  const double eta = run.eta.value_or(1.0);
  for (int i = 0; i < NumSteps(run); ++i) {
    INGOT_RETURN_IF_ERROR(BeginStep(run, i, run.sigmas[i], denoised));
    const double s = run.sigmas[i], s_next = run.sigmas[i + 1];
    const double s_down = s_next * (1.0 + (s_next / s - 1.0) * eta);
    const double ratio = s_down / s;
    if (eta == 0 || s_next == 0) {
      Combine(run.x, {{ratio, run.x}, {1.0 - ratio, denoised}});
      continue;
    }
    const double scale = (1.0 - s_next) / (1.0 - s_down);
    const double renoise = std::sqrt(s_next * s_next - s_down * s_down * scale * scale);
    run.noise(run.sigmas[i], run.sigmas[i + 1], noise);
    Combine(run.x, {{scale * ratio, run.x},
                    {scale * (1.0 - ratio), denoised},
                    {renoise * run.s_noise, noise}});
  }
  return {};
}

Status SampleHeun(const SamplerRun& run) {
  const std::span<float> denoised = Buffer(run, 0), x_2 = Buffer(run, 1),
                         denoised_2 = Buffer(run, 2);
  for (int i = 0; i < NumSteps(run); ++i) {
    INGOT_RETURN_IF_ERROR(BeginStep(run, i, run.sigmas[i], denoised));
    const double s = run.sigmas[i], s_next = run.sigmas[i + 1];
    const double ratio = s_next / s;
    if (s_next == 0) {
      Combine(run.x, {{ratio, run.x}, {1.0 - ratio, denoised}});
      continue;
    }
    Combine(x_2, {{ratio, run.x}, {1.0 - ratio, denoised}});
    INGOT_RETURN_IF_ERROR(run.denoise(x_2, run.sigmas[i + 1], denoised_2));
    // x += (s' - s) / 2 ((x - D) / s + (x_2 - D_2) / s')
    const double at_s = (s_next - s) / (2.0 * s), at_next = (s_next - s) / (2.0 * s_next);
    Combine(run.x,
            {{1.0 + at_s, run.x}, {-at_s, denoised}, {at_next, x_2}, {-at_next, denoised_2}});
  }
  return {};
}

Status SampleDdim(const SamplerRun& run) {
  const std::span<float> denoised = Buffer(run, 0), noise = Buffer(run, 1);
  const double eta = run.eta.value_or(0.0);
  for (int i = 0; i < NumSteps(run); ++i) {
    INGOT_RETURN_IF_ERROR(BeginStep(run, i, run.sigmas[i], denoised));
    const double s = run.sigmas[i], s_next = run.sigmas[i + 1];
    const double alpha = 1.0 - s, alpha_next = 1.0 - s_next;
    const double kept = alpha / alpha_next * s_next;  // of the noise at s', seen at s
    const double fresh = eta * (s_next / s) * std::sqrt(s * s - kept * kept);
    // Rounding must not put a negative number under the root: at eta 1 and alpha 0, fresh is s'.
    const double direction = std::sqrt(std::max(0.0, s_next * s_next - fresh * fresh)) / s;
    const double at_denoised = alpha_next - direction * alpha;
    if (fresh == 0) {
      Combine(run.x, {{direction, run.x}, {at_denoised, denoised}});
      continue;
    }
    run.noise(run.sigmas[i], run.sigmas[i + 1], noise);
    Combine(run.x, {{direction, run.x}, {at_denoised, denoised}, {fresh * run.s_noise, noise}});
  }
  return {};
}

Status SampleLcm(const SamplerRun& run) {
  const std::span<float> denoised = Buffer(run, 0), noise = Buffer(run, 1);
  for (int i = 0; i < NumSteps(run); ++i) {
    INGOT_RETURN_IF_ERROR(BeginStep(run, i, run.sigmas[i], denoised));
    const double s_next = run.sigmas[i + 1];
    if (s_next == 0) {
      Combine(run.x, {{1.0, denoised}});
      continue;
    }
    run.noise(run.sigmas[i], run.sigmas[i + 1], noise);
    Combine(run.x, {{1.0 - s_next, denoised}, {s_next * run.s_noise, noise}});
  }
  return {};
}

}  // namespace ingot
