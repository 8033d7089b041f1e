// Noise levels of a run: the rectified-flow model of noise and the schedulers that cut it in steps.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"

namespace ingot {

// Rectified flow, as Forge's PredictionFlux. The timestep that the model is given is sigma itself.
//   x        = sigma * noise + (1 - sigma) * latent     sigma in [0, 1]
//   denoised = x - sigma * output
//   sigma(t) = e^mu / (e^mu + 1/t - 1)                  t in (0, 1]
struct RectifiedFlow {
  double mu = 0;

  static constexpr int kNumTimesteps = 10000;  // Forge's pseudo_timestep_range: t = i / 10000

  double Sigma(double t) const;
  double sigma_min() const { return Sigma(1.0 / kNumTimesteps); }
  double sigma_max() const { return 1.0; }
};
// Forge fixes mu for every picture size: the value for 4096 tokens.
inline constexpr RectifiedFlow kFluxDev = {.mu = 1.15};
inline constexpr RectifiedFlow kFluxSchnell = {.mu = 1.0};

// x = sigma * noise + (1 - sigma) * x; for a picture from text x is zero on entry.
void AddNoise(float sigma, std::span<const float> noise, std::span<float> x);

// denoised = x - sigma * output; denoised may alias output.
void ToDenoised(float sigma, std::span<const float> x, std::span<const float> output,
                std::span<float> denoised);

struct ScheduleOptions {
  double rho = 0;  // of karras and polyexponential; 0 is their default, 7 and 1
  double beta_alpha = 0.6;
  double beta_beta = 0.6;
};

// `name` and `label` as in /sdapi/v1/schedulers.
struct Scheduler {
  std::string_view name;
  std::string_view label;
  std::string_view alias;  // empty where there is none
  std::vector<double> (*sigmas)(const RectifiedFlow&, int num_steps, const ScheduleOptions&);
};

// "Automatic" is not among them: the caller resolves it to the architecture's default.
std::span<const Scheduler> Schedulers();

// By name, label or alias, any case; InvalidArgument lists what exists.
Result<const Scheduler*> FindScheduler(std::string_view name);

// Strictly falling sigmas, one more than there are steps; the last is 0 (kl_optimal: sigma_min).
// "ddim" may make more steps than asked for, as in Forge. num_steps in [1, kMaxSteps].
inline constexpr int kMaxSteps = 1000;
Result<std::vector<float>> MakeSigmas(const Scheduler& scheduler, const RectifiedFlow& flow,
                                      int num_steps, const ScheduleOptions& options = {});

// Index of the first sigma of an img2img run, num_steps - t_enc - 1 with
// t_enc = int(min(strength, 0.999) * num_steps); the run is sigmas[index:]. In [0, num_steps).
int FirstStepOfImg2Img(int num_steps, double denoising_strength);

}  // namespace ingot
