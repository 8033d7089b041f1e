// Facts about samplers on an equation whose solution is known: dx/dsigma = cos(3 sigma) x.
#include "sampling/samplers.h"

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "sampling/schedule.h"

namespace ingot {
namespace {

Status Denoise(std::span<const float> x, float sigma, std::span<float> denoised) {
  const double slope = std::cos(3.0 * sigma);
  for (size_t i = 0; i < x.size(); ++i) {
    denoised[i] = static_cast<float>(x[i] * (1.0 - sigma * slope));
  }
  return {};
}

// Relative error at sigma 0.2 after `num_steps` equal steps from 0.9.
double Error(std::string_view name, int num_steps) {
  const Sampler& sampler = **FindSampler(name);
  std::vector<float> sigmas;
  for (int i = 0; i <= num_steps; ++i) sigmas.push_back(0.9f - 0.7f * i / num_steps);
  std::vector<float> x = {1.0f}, scratch(sampler.num_buffers);
  const Status status =
      Sample(sampler, {.denoise = Denoise, .sigmas = sigmas, .x = x, .scratch = scratch, .eta = 0});
  EXPECT_TRUE(status.ok()) << status.message();
  return std::abs(x[0] / std::exp((std::sin(0.6) - std::sin(2.7)) / 3) - 1.0);
}

// Halving the step divides the error by 2^order; 0.8 of it leaves room for the next term. From 20
// steps: at 10 UniPC's low-order end steps still show (measured ratios 3.0 at 10, 4.05 at 20).
void ExpectOrder(std::string_view name, int order) {
  EXPECT_GT(Error(name, 20) / Error(name, 40), 0.8 * (1 << order)) << name;
}

TEST(SamplersTest, DeterministicSamplersConvergeWithTheirOrder) {
  ExpectOrder("Euler", 1);
  ExpectOrder("DDIM", 1);
  ExpectOrder("Heun", 2);
  ExpectOrder("DPM++ 2M", 2);
  ExpectOrder("DPM++ 2M SDE", 2);
  ExpectOrder("UniPC", 2);  // its first and last steps are of order 1
}

TEST(SamplersTest, EveryNameFindsItsSamplerInAnyCase) {
  EXPECT_EQ((*FindSampler("EULER A"))->name, "Euler a");
  EXPECT_EQ((*FindSampler("k_euler_ancestral"))->name, "Euler a");
  EXPECT_EQ(FindSampler("nope").status().code(), StatusCode::kInvalidArgument);
}

TEST(SchedulesTest, AllFallStrictlyFromOneToTheirEnd) {
  for (const Scheduler& scheduler : Schedulers()) {
    for (int num_steps : {1, 2, 3, 20, 150}) {
      const auto sigmas = MakeSigmas(scheduler, kFluxDev, num_steps);
      ASSERT_TRUE(sigmas.ok()) << sigmas.status().message();
      EXPECT_EQ(sigmas->front(), scheduler.name == "ddim" ? sigmas->front() : 1.0f);
      EXPECT_LT(sigmas->back(), 4e-4f);
    }
  }
}

}  // namespace
}  // namespace ingot
