// Facts about samplers on an equation whose solution is known: dx/dsigma = cos(3 sigma) x.
#include "sampling/samplers.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <string>
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

void FillOnes(float, float, std::span<float> out) { std::ranges::fill(out, 1.0f); }

// Relative error at sigma 0.2 after `num_steps` equal steps from 0.9.
double Error(std::string_view name, int num_steps) {
  const Sampler& sampler = **FindSampler(name);
  std::vector<float> sigmas;
  for (int i = 0; i <= num_steps; ++i) sigmas.push_back(0.9f - 0.7f * i / num_steps);
  std::vector<float> x = {1.0f}, scratch(sampler.num_buffers);
  const Status status = Sample(sampler, {.denoise = Denoise,
                                         .sigmas = sigmas,
                                         .x = x,
                                         .scratch = scratch,
                                         .noise = FillOnes,
                                         .eta = 0});
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

TEST(SamplersTest, AnUnknownNameIsToldEveryName) {
  const std::string message = FindSampler("PLMS").status().message();
  EXPECT_NE(message.find("'PLMS'"), std::string::npos) << message;
  for (const Sampler& sampler : Samplers()) {
    EXPECT_NE(message.find(sampler.name), std::string::npos) << message;
  }
}

struct Outcome {
  Status status;
  std::vector<float> evaluated = {};  // sigmas
  int num_reports = 0;
  std::vector<float> x;
};

// Runs with noise of 1; the callback refuses step `refused_step`.
Outcome RunOn(const Sampler& sampler, const std::vector<float>& sigmas, double eta = 1.0,
              int refused_step = -1) {
  Outcome outcome = {.status = {}, .x = {1.0f, -0.5f}};
  std::vector<float> scratch(sampler.num_buffers * outcome.x.size());
  const auto denoise = [&](std::span<const float> x, float sigma, std::span<float> denoised) {
    outcome.evaluated.push_back(sigma);
    return Denoise(x, sigma, denoised);
  };
  const auto on_step = [&](const SamplerStep& step) -> Status {
    EXPECT_EQ(step.step_idx, outcome.num_reports++);
    EXPECT_EQ(step.num_steps + 1, static_cast<int>(sigmas.size()));
    if (step.step_idx == refused_step) return Cancelled("asked to stop");
    return {};
  };
  outcome.status = Sample(sampler, {.denoise = denoise,
                                    .sigmas = sigmas,
                                    .x = outcome.x,
                                    .scratch = scratch,
                                    .noise = FillOnes,
                                    .on_step = on_step,
                                    .eta = eta});
  return outcome;
}

TEST(SamplersTest, EvaluationSigmasAreWhatARunCallsAndEachStepReportsOnce) {
  for (const Sampler& sampler : Samplers()) {
    for (const std::vector<float>& sigmas :
         {std::vector<float>{1, 0}, {1, 0.5, 0}, {1, 0.9, 0.5, 0.2, 0}, {0.8, 0.5, 0.2, 0.1}}) {
      const Outcome outcome = RunOn(sampler, sigmas);
      EXPECT_TRUE(outcome.status.ok()) << outcome.status.message();
      EXPECT_EQ(outcome.evaluated, *EvaluationSigmas(sampler, sigmas)) << sampler.name;
      EXPECT_EQ(outcome.num_reports, static_cast<int>(sigmas.size()) - 1) << sampler.name;
    }
  }
}

TEST(SamplersTest, AStatusOfTheCallbackEndsTheRunAtThatStep) {
  for (const Sampler& sampler : Samplers()) {
    const Outcome outcome = RunOn(sampler, {1, 0.9, 0.5, 0.2, 0}, 1.0, 2);
    EXPECT_EQ(outcome.status.code(), StatusCode::kCancelled) << sampler.name;
    EXPECT_EQ(outcome.num_reports, 3) << sampler.name;
  }
}

TEST(SamplersTest, AStatusOfTheDenoiserEndsTheRun) {
  for (const Sampler& sampler : Samplers()) {
    std::vector<float> sigmas = {1, 0.5, 0}, x(2), scratch(sampler.num_buffers * x.size());
    const auto denoise = [](std::span<const float>, float sigma, std::span<float>) -> Status {
      if (sigma == 0.5f) return NotFinite("step");
      return {};
    };
    const SamplerRun run = {
        .denoise = denoise, .sigmas = sigmas, .x = x, .scratch = scratch, .noise = FillOnes};
    EXPECT_EQ(Sample(sampler, run).code(), StatusCode::kNotFinite) << sampler.name;
  }
}

// The greatest latent over the range of eta; the start is 1, its noise 1.
float GreatestLatent(const Sampler& sampler, const std::vector<float>& sigmas) {
  float greatest = 0;
  for (double eta : {0.0, 1e-12, 0.5, 1.0}) {
    const float x = std::abs(RunOn(sampler, sigmas, eta).x[0]);
    if (std::isnan(x)) return x;
    greatest = std::max(greatest, x);
  }
  return greatest;
}

// Among them Beta of 500 steps, with many sigmas above DPM++ 2M SDE's first of 0.9999.
TEST(SamplersTest, EverySamplerIsStableOnEverySchedule) {
  for (const Scheduler& scheduler : Schedulers()) {
    for (int num_steps : {1, 2, 500, kMaxSteps}) {
      const auto sigmas = MakeSigmas(scheduler, kFluxDev, num_steps);
      if (!sigmas.ok()) continue;
      for (const Sampler& sampler : Samplers()) {
        // Noise that never changes its sign adds up: at most as sqrt(1000).
        EXPECT_LT(GreatestLatent(sampler, *sigmas), 32.0f)
            << sampler.name << " " << scheduler.name << " " << num_steps;
      }
    }
  }
}

TEST(SamplersTest, NeighbouringSigmasDoNotMakeNans) {
  for (const Sampler& sampler : Samplers()) {
    for (const std::vector<float>& sigmas :
         {std::vector<float>{1, 0.99999994f, 0.9999999f, 0.5f, 2e-38f, 1e-38f, 0},
          {0.5f, 0.49999997f, 0.49999994f, 0}}) {
      EXPECT_TRUE(std::isfinite(GreatestLatent(sampler, sigmas))) << sampler.name;
    }
  }
}

TEST(SamplersTest, BadRunsAreRefused) {
  const Sampler& euler = **FindSampler("Euler");
  const auto code = [&](const std::vector<float>& sigmas, double eta = 0) {
    return RunOn(euler, sigmas, eta).status.code();
  };
  const StatusCode refused = StatusCode::kInvalidArgument;
  EXPECT_EQ(code({}), refused);
  EXPECT_EQ(code({1}), refused);
  EXPECT_EQ(code({0.5, 0.5}), refused);
  EXPECT_EQ(code({0.5, 0.7}), refused);
  EXPECT_EQ(code({1.5, 0.7}), refused);
  EXPECT_EQ(code({0.5, -0.1}), refused);
  EXPECT_EQ(code({1, NAN, 0}), refused);
  EXPECT_EQ(code({1, 0}, NAN), refused);
  EXPECT_EQ(code({1, 0}, 1.5), refused);
}

}  // namespace
}  // namespace ingot
