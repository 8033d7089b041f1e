// Facts about schedules and the noise model.
#include "sampling/schedule.h"

#include <gtest/gtest.h>

#include <cmath>

namespace ingot {
namespace {

TEST(ScheduleTest, AllStartAtOneAndEndByTheTablesLeastSigma) {
  for (const Scheduler& scheduler : Schedulers()) {
    for (int num_steps : {1, 2, 3, 20, 150}) {
      const auto sigmas = MakeSigmas(scheduler, kFluxDev, num_steps);
      ASSERT_TRUE(sigmas.ok()) << sigmas.status().message();
      EXPECT_LE(sigmas->front(), 1.0f);
      // DDIM, as in Forge, starts less than a stride short of 1: with one step at its end.
      if (scheduler.name != "ddim") {
        EXPECT_EQ(sigmas->front(), 1.0f) << scheduler.name;
      }
      EXPECT_LT(sigmas->back(), 4e-4f);
    }
  }
}

TEST(ScheduleTest, AnUnknownNameIsToldEveryLabel) {
  const std::string message = FindScheduler("turbo").status().message();
  EXPECT_NE(message.find("'turbo'"), std::string::npos) << message;
  for (const Scheduler& scheduler : Schedulers()) {
    EXPECT_NE(message.find(scheduler.label), std::string::npos) << message;
  }
}

TEST(ScheduleTest, NamesLabelsAndAliasesFindTheirSchedulerInAnyCase) {
  for (std::string_view name : {"sgm_uniform", "SGM Uniform", "sgmuniform"}) {
    EXPECT_EQ((*FindScheduler(name))->name, "sgm_uniform");
  }
}

TEST(ScheduleTest, BadOptionsAreRefused) {
  const Scheduler& beta = **FindScheduler("beta");
  const auto code = [&](int num_steps, const ScheduleOptions& options = {}) {
    return MakeSigmas(beta, kFluxDev, num_steps, options).status().code();
  };
  const StatusCode refused = StatusCode::kInvalidArgument;
  EXPECT_EQ(code(0), refused);
  EXPECT_EQ(code(kMaxSteps + 1), refused);
  EXPECT_EQ(code(20, {.rho = NAN}), refused);
  EXPECT_EQ(code(20, {.beta_alpha = 0}), refused);
  EXPECT_EQ(code(20, {.beta_beta = INFINITY}), refused);
}

TEST(ScheduleTest, EverySchedulerAnswersAtTheLimitsOfItsOptions) {
  for (const Scheduler& scheduler : Schedulers()) {
    for (double limit : {0.1, 100.0}) {
      for (int num_steps : {1, 2, kMaxSteps}) {
        const auto sigmas =
            MakeSigmas(scheduler, kFluxDev, num_steps,
                       {.rho = limit, .beta_alpha = limit, .beta_beta = 100.1 - limit});
        if (sigmas.ok()) continue;  // else some steps do not move in f32
        EXPECT_EQ(sigmas.status().code(), StatusCode::kInvalidArgument) << scheduler.name;
      }
    }
  }
}

TEST(ScheduleTest, ImageToImageStartsAtForgesStep) {
  EXPECT_EQ(FirstStepOfImg2Img(20, 0.75), 4);  // t_enc 15
  EXPECT_EQ(FirstStepOfImg2Img(20, 1.0), 0);   // t_enc 19 of 0.999
  EXPECT_EQ(FirstStepOfImg2Img(20, 0.0), 19);  // one step is left
  EXPECT_EQ(FirstStepOfImg2Img(1, 0.5), 0);
  EXPECT_EQ(FirstStepOfImg2Img(kMaxSteps, 1.0), 0);
  for (double strength : {-3.0, 7.0, static_cast<double>(NAN)}) {
    EXPECT_GE(FirstStepOfImg2Img(20, strength), 0);
    EXPECT_LT(FirstStepOfImg2Img(20, strength), 20);
  }
}

TEST(ScheduleTest, TheVelocityOfAddedNoiseLeadsBackToTheLatent) {
  const std::vector<float> latent = {0.5f, -1.25f, 3.0f}, noise = {-0.3f, 2.0f, 0.1f};
  std::vector<float> velocity(3);
  for (size_t i = 0; i < 3; ++i) velocity[i] = noise[i] - latent[i];  // dx/dsigma
  for (float sigma : {0.0f, 0.001f, 0.3f, 1.0f}) {
    std::vector<float> x = latent, denoised = velocity;
    AddNoise(sigma, noise, x);
    ToDenoised(sigma, x, denoised, denoised);  // may alias
    // Five roundings of values up to 3.
    for (size_t i = 0; i < 3; ++i) EXPECT_NEAR(denoised[i], latent[i], 1e-6) << sigma;
  }
}

TEST(ScheduleTest, AtSigmaOneOnlyNoiseIsLeftAndAtZeroNone) {
  std::vector<float> x = {0.5f}, y = {0.5f};
  const std::vector<float> noise = {2.0f};
  AddNoise(1.0f, noise, x);
  AddNoise(0.0f, noise, y);
  EXPECT_EQ(x[0], 2.0f);
  EXPECT_EQ(y[0], 0.5f);
}

}  // namespace
}  // namespace ingot
