// The table of samplers, its look-up, and the check of a run.
#include "sampling/samplers.h"

#include <array>
#include <cmath>
#include <string>

#include "sampling/names.h"

namespace ingot {
namespace {

// In Forge's order of /sdapi/v1/samplers.
constexpr std::array kSamplers = std::to_array<Sampler>({
    {"DPM++ 2M", "k_dpmpp_2m", "", SampleDpmpp2m, 2, NoiseKind::kNone, 0.0, false},
    {"DPM++ 2M SDE", "k_dpmpp_2m_sde", "", SampleDpmpp2mSde, 3, NoiseKind::kBrownian, 1.0, true},
    {"Euler a", "k_euler_a", "k_euler_ancestral", SampleEulerAncestral, 2, NoiseKind::kStream, 1.0,
     true},
    {"Euler", "k_euler", "", SampleEuler, 1, NoiseKind::kNone, 0.0, false},
    {"Heun", "k_heun", "", SampleHeun, 3, NoiseKind::kNone, 0.0, false},
    {"DDIM", "ddim", "", SampleDdim, 2, NoiseKind::kStream, 0.0, true},
    {"UniPC", "unipc", "", SampleUniPc, 5, NoiseKind::kNone, 0.0, false},
    {"LCM", "k_lcm", "", SampleLcm, 2, NoiseKind::kStream, 1.0, false},
});

Status CheckSigmas(std::span<const float> sigmas) {
  if (sigmas.size() < 2) {
    return InvalidArgument("sigmas: expected at least 2, found {}", sigmas.size());
  }
  if (!(sigmas.front() <= 1.0f && sigmas.back() >= 0.0f)) {
    return InvalidArgument("sigmas: expected to lie in [0, 1], found {} to {}", sigmas.front(),
                           sigmas.back());
  }
  for (size_t i = 1; i < sigmas.size(); ++i) {
    if (sigmas[i] < sigmas[i - 1]) continue;
    return InvalidArgument("sigmas: expected to fall, found {} after {}", sigmas[i], sigmas[i - 1]);
  }
  return {};
}

}  // namespace

std::span<const Sampler> Samplers() { return kSamplers; }

Result<const Sampler*> FindSampler(std::string_view name) {
  std::string known;
  for (const Sampler& sampler : kSamplers) {
    for (std::string_view alias : {sampler.name, sampler.alias, sampler.alias_2}) {
      if (!alias.empty() && SameName(name, alias)) return &sampler;
    }
    known += fmt::format("{}{}", known.empty() ? "" : ", ", sampler.name);
  }
  return InvalidArgument("sampler: expected one of {}; found '{}'", known, name);
}

Status Sample(const Sampler& sampler, const SamplerRun& run) {
  INGOT_RETURN_IF_ERROR(CheckSigmas(run.sigmas));
  const double eta = run.eta.value_or(sampler.default_eta);
  if (!(eta >= 0 && eta <= 1)) {
    return InvalidArgument("eta: expected 0 to 1, found {}", eta);
  }
  if (!(run.s_noise >= 0 && run.s_noise <= 10)) {
    return InvalidArgument("s_noise: expected 0 to 10, found {}", run.s_noise);
  }
  INGOT_CHECK(run.scratch.size() >= static_cast<size_t>(sampler.num_buffers) * run.x.size());
  INGOT_CHECK(run.noise || sampler.noise == NoiseKind::kNone);
  return sampler.sample(run);
}

// A run on a latent of one element tells.
Result<std::vector<float>> EvaluationSigmas(const Sampler& sampler, std::span<const float> sigmas) {
  std::vector<float> evaluated, x(1), scratch(static_cast<size_t>(sampler.num_buffers));
  const SamplerRun run = {
      .denoise = [&](std::span<const float>, float sigma, std::span<float> denoised) -> Status {
        evaluated.push_back(sigma);
        denoised[0] = 0.0f;
        return {};
      },
      .sigmas = sigmas,
      .x = x,
      .scratch = scratch,
      .noise = [](float, float, std::span<float> out) { out[0] = 0.0f; }};
  INGOT_RETURN_IF_ERROR(Sample(sampler, run));
  return evaluated;
}

}  // namespace ingot
