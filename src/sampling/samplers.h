// Samplers: from noise to a latent by calls of a denoiser, in their rectified-flow forms.
//
// D is the denoiser's answer, s and s' the sigmas of a step, z fresh noise; alpha = 1 - sigma.
// Coefficients are computed in double, latents in float, element by element. What differs from
// Forge, and why: docs/decisions/0004-rectified-flow-samplers.md.
#pragma once

#include <functional>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "base/status.h"

namespace ingot {

// denoised = D(x, sigma); neither aliases the other.
using Denoiser =
    std::function<Status(std::span<const float> x, float sigma, std::span<float> denoised)>;

// Standard normal noise of x's size for the step from sigma to sigma_next.
using StepNoise = std::function<void(float sigma, float sigma_next, std::span<float> out)>;

struct SamplerStep {
  int step_idx;
  int num_steps;
  float sigma;
  std::span<const float> denoised;  // of the step's first evaluation, for previews
};
// Called once a step, before x moves; a status that is not ok ends the run with it.
using StepCallback = std::function<Status(const SamplerStep&)>;

// One run. Steps allocate nothing: all memory is x and scratch.
struct SamplerRun {
  Denoiser denoise;
  std::span<const float> sigmas;  // strictly falling, in [0, 1], at least two
  std::span<float> x;             // in: the latent at sigmas.front(); out: at sigmas.back()
  std::span<float> scratch;       // Sampler::num_buffers * x.size()
  StepNoise noise = {};           // needed where Sampler::noise is not kNone
  StepCallback on_step = {};
  std::optional<double> eta = {};  // share of fresh noise in [0, 1]; unset: Sampler::default_eta
  double s_noise = 1.0;            // factor on fresh noise
};

// Euler: x = D + (s'/s) (x - D). k-diffusion sample_euler; 1st order.
Status SampleEuler(const SamplerRun& run);

// Euler a: a step down to s_down = s' (1 + (s'/s - 1) eta), then noise back up to s'.
// sample_euler_ancestral_RF.
Status SampleEulerAncestral(const SamplerRun& run);

// Heun: the mean of the slopes at both ends; Euler where s' = 0. sample_heun; 2nd order.
Status SampleHeun(const SamplerRun& run);

// DPM++ 2M: D extrapolated linearly in -log sigma. sample_dpmpp_2m; 2nd order.
Status SampleDpmpp2m(const SamplerRun& run);

// DPM++ 2M SDE, midpoint, in lambda = log(alpha/sigma); s[0] is at most 0.9999, where lambda is
// finite. ComfyUI's sample_dpmpp_2m_sde for rectified flow.
Status SampleDpmpp2mSde(const SamplerRun& run);

// DDIM: x = alpha' D + sqrt(s'^2 - c^2) (x - alpha D)/s + c z, with
// c = eta (s'/s) sqrt(s^2 - (alpha/alpha')^2 s'^2). Equals Euler at eta 0. arXiv:2010.02502 eq. 12.
Status SampleDdim(const SamplerRun& run);

// LCM: x = alpha' D + s' z. ComfyUI's sample_lcm for rectified flow.
Status SampleLcm(const SamplerRun& run);

// UniPC, B(h) = h ("bh1"), order 3, lower at both ends, in -log sigma; the corrector reuses the
// next step's evaluation. arXiv:2302.04867 algorithms 1 and 2, ComfyUI's sample_unipc.
Status SampleUniPc(const SamplerRun& run);

enum class NoiseKind : uint8_t {
  kNone,
  kStream,    // the picture's NoiseStream goes on
  kBrownian,  // a BrownianTree over the whole schedule
};

struct Sampler {
  std::string_view name;     // as in /sdapi/v1/samplers: "Euler a"
  std::string_view alias;    // "k_euler_a"
  std::string_view alias_2;  // empty where there is none
  Status (*sample)(const SamplerRun&);
  int num_buffers;  // of x.size() floats, in SamplerRun::scratch
  NoiseKind noise;
  double default_eta;
  bool takes_eta;  // else SamplerRun::eta does nothing
};

std::span<const Sampler> Samplers();

// By name or alias, any case; InvalidArgument lists what exists.
Result<const Sampler*> FindSampler(std::string_view name);

// The sigma of every call of the denoiser in a run over `sigmas`, in order: known before the run,
// since no sampler adapts its steps. InvalidArgument as Sample.
Result<std::vector<float>> EvaluationSigmas(const Sampler& sampler, std::span<const float> sigmas);

// Checks the run (InvalidArgument), then samples. A status of the denoiser or of on_step ends it.
Status Sample(const Sampler& sampler, const SamplerRun& run);

}  // namespace ingot
