// Samplers equal to ComfyUI's k-diffusion and UniPC and to diffusers' DDIM, run in f64.
#include <gtest/gtest.h>

#include <map>

#include "golden.h"
#include "sampling/brownian_tree.h"
#include "sampling/noise.h"
#include "sampling/samplers.h"

namespace ingot {
namespace {

using nlohmann::json;

// The analytic denoiser of make_goldens.py.
Status Denoise(std::span<const float> x, float sigma, std::span<float> denoised) {
  for (size_t i = 0; i < x.size(); ++i) {
    const double value = std::tanh(1.5 * x[i]) * (1 - 0.5 * sigma) + 0.1 * std::sin(5.0 * sigma);
    denoised[i] = static_cast<float>(value);
  }
  return {};
}

float LeastPositive(std::span<const float> sigmas) {
  return sigmas.back() > 0 ? sigmas.back() : sigmas[sigmas.size() - 2];
}

std::vector<float> SampleCase(const Sampler& sampler, const json& golden, const json& row) {
  const std::vector<float> sigmas = golden["sigmas"][row["schedule"].get<std::string>()];
  std::vector<float> x = golden["x"], scratch(sampler.num_buffers * x.size());
  std::vector<float> tree_scratch(BrownianTree::kNumBuffers * x.size());
  NoiseStream stream(Rng::kCpu, golden["seed"]);
  const BrownianTree tree(Rng::kCpu, golden["seed"], LeastPositive(sigmas), sigmas.front());
  const StepNoise noise = [&](float sigma, float sigma_next, std::span<float> out) {
    if (sampler.noise == NoiseKind::kBrownian) {
      tree.Fill(sigma, sigma_next, out, tree_scratch);
    } else {
      stream.Fill(out);
    }
  };
  const Status status = Sample(sampler, {.denoise = Denoise,
                                         .sigmas = sigmas,
                                         .x = x,
                                         .scratch = scratch,
                                         .noise = noise,
                                         .eta = row["eta"].get<double>(),
                                         .s_noise = row["s_noise"]});
  EXPECT_TRUE(status.ok()) << status.message();
  return x;
}

TEST(SamplerGolden, EverySamplerIsItsReference) {
  const json golden = ReadGolden("samplers.json");
  std::map<std::string, double> worst;
  for (const json& row : golden["cases"]) {
    const auto name = row["sampler"].get<std::string>();
    const Result<const Sampler*> sampler = FindSampler(name);
    ASSERT_TRUE(sampler.ok()) << name;
    const double error = RelativeError(SampleCase(**sampler, golden, row), row["x"]);
    // Latents are f32 here, f64 there: some 20 steps, each with a few roundings of 6e-8.
    EXPECT_LE(error, 2e-6) << row.dump();
    worst[name] = std::max(worst[name], error);
  }
  EXPECT_EQ(worst.size(), Samplers().size());  // none is missing
  for (const auto& [name, error] : worst) RecordProperty(name, fmt::format("{:.1e}", error));
}

}  // namespace
}  // namespace ingot
