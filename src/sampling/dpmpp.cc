// Two-step exponential integrators: DPM++ 2M and DPM++ 2M SDE. arXiv:2211.01095.
#include <cmath>

#include "sampling/step.h"

namespace ingot {

Status SampleDpmpp2m(const SamplerRun& run) {
  std::span<float> denoised = Buffer(run, 0), old_denoised = Buffer(run, 1);
  for (int i = 0; i < NumSteps(run); ++i) {
    INGOT_RETURN_IF_ERROR(BeginStep(run, i, run.sigmas[i], denoised));
    const double s = run.sigmas[i], s_next = run.sigmas[i + 1];
    const double ratio = s_next / s;
    if (i == 0 || s_next == 0) {
      Combine(run.x, {{ratio, run.x}, {1.0 - ratio, denoised}});
    } else {
      const double h = std::log(s / s_next), h_last = std::log(run.sigmas[i - 1] / s);
      const double slope = 0.5 * h / h_last;
      Combine(run.x, {{ratio, run.x},
                      {(1.0 - ratio) * (1.0 + slope), denoised},
                      {-(1.0 - ratio) * slope, old_denoised}});
    }
    std::swap(denoised, old_denoised);
  }
  return {};
}

Status SampleDpmpp2mSde(const SamplerRun& run) {
  // lambda is infinite at sigma 1; ComfyUI starts a percent_offset of 1e-4 below it. Beta with 400
  // steps has more than one sigma above: those steps do not move.
  const auto sigma_at = [&run](int i) { return std::min(run.sigmas[i], 0.9999f); };
  std::span<float> denoised = Buffer(run, 0), old_denoised = Buffer(run, 1);
  const std::span<float> noise = Buffer(run, 2);
  const double eta = run.eta.value_or(1.0);
  double h_last = 0;
  for (int i = 0; i < NumSteps(run); ++i) {
    const float sigma = sigma_at(i), sigma_next = sigma_at(i + 1);
    INGOT_RETURN_IF_ERROR(BeginStep(run, i, sigma, denoised));
    const double s = sigma, s_next = sigma_next, alpha_next = 1.0 - s_next;
    if (s_next == 0) {
      Combine(run.x, {{1.0, denoised}});
      continue;
    }
    const double h = std::log(alpha_next / s_next) - std::log((1.0 - s) / s);
    const double gain = alpha_next * -std::expm1(-h * (1.0 + eta));
    const double slope = h_last > 0 ? 0.5 * h / h_last : 0.0;
    Combine(run.x, {{s_next / s * std::exp(-h * eta), run.x}, {gain * (1.0 + slope), denoised}});
    if (slope != 0) Combine(run.x, {{1.0, run.x}, {-gain * slope, old_denoised}});
    const double fresh = s_next * std::sqrt(-std::expm1(-2.0 * h * eta));
    if (fresh > 0) {
      run.noise(sigma, sigma_next, noise);
      Combine(run.x, {{1.0, run.x}, {fresh * run.s_noise, noise}});
    }
    h_last = h;
    std::swap(denoised, old_denoised);
  }
  return {};
}

}  // namespace ingot
