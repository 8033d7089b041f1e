// The schedulers of Forge's modules/sd_schedulers.py that make sense on rectified flow.
#include "sampling/schedule.h"

#include <algorithm>
#include <array>
#include <boost/math/distributions/beta.hpp>
#include <cmath>

#include "base/check.h"
#include "sampling/names.h"

namespace ingot {
namespace {

using Sigmas = std::vector<double>;

// numpy.linspace(first, last, count), where one point is `first`.
double Linspace(double first, double last, int count, int i) {
  return count == 1 ? first : first + (last - first) * i / (count - 1);
}

template <typename Function>
Sigmas Make(int count, Function sigma_of_step, bool append_zero = true) {
  Sigmas sigmas;
  for (int i = 0; i < count; ++i) sigmas.push_back(sigma_of_step(i));
  if (append_zero) sigmas.push_back(0.0);
  return sigmas;
}

double TableSigma(const RectifiedFlow& flow, double index) {
  return flow.Sigma((index + 1) / RectifiedFlow::kNumTimesteps);
}

// Forge reads the index as a sigma here, which on Flux gives a black picture: we take the table.
Sigmas Uniform(const RectifiedFlow& flow, int n, const ScheduleOptions&) {
  return Make(n, [&](int i) {
    return TableSigma(flow, Linspace(RectifiedFlow::kNumTimesteps - 1, 0, n, i));
  });
}

Sigmas Simple(const RectifiedFlow& flow, int n, const ScheduleOptions&) {
  const double stride = static_cast<double>(RectifiedFlow::kNumTimesteps) / n;
  return Make(n, [&](int i) {
    return TableSigma(flow, RectifiedFlow::kNumTimesteps - 1 - static_cast<int>(i * stride));
  });
}

Sigmas Normal(const RectifiedFlow& flow, int n, const ScheduleOptions&) {
  return Make(n, [&](int i) { return Linspace(flow.sigma_max(), flow.sigma_min(), n, i); });
}

Sigmas SgmUniform(const RectifiedFlow& flow, int n, const ScheduleOptions&) {
  return Make(n, [&](int i) { return Linspace(flow.sigma_max(), flow.sigma_min(), n + 1, i); });
}

Sigmas Ddim(const RectifiedFlow& flow, int n, const ScheduleOptions&) {
  const int stride = std::max(RectifiedFlow::kNumTimesteps / n, 1);
  const int count = (RectifiedFlow::kNumTimesteps - 2) / stride + 1;  // of 1, 1 + stride, ...
  return Make(count, [&](int i) { return TableSigma(flow, 1 + (count - 1 - i) * stride); });
}

// "Beta Sampling is All You Need", arXiv:2407.12173.
Sigmas Beta(const RectifiedFlow& flow, int n, const ScheduleOptions& options) {
  const boost::math::beta_distribution<double> beta(options.beta_alpha, options.beta_beta);
  return Make(n, [&](int i) {
    const double quantile = boost::math::quantile(beta, 1.0 - Linspace(0, 1, n, i));
    return flow.sigma_min() + quantile * (flow.sigma_max() - flow.sigma_min());
  });
}

Sigmas Karras(const RectifiedFlow& flow, int n, const ScheduleOptions& options) {
  const double rho = options.rho == 0 ? 7.0 : options.rho;
  const double first = std::pow(flow.sigma_max(), 1 / rho);
  const double last = std::pow(flow.sigma_min(), 1 / rho);
  return Make(n, [&](int i) { return std::pow(Linspace(first, last, n, i), rho); });
}

Sigmas PolyexponentialWithRho(const RectifiedFlow& flow, int n, double rho) {
  const double log_min = std::log(flow.sigma_min());
  const double log_max = std::log(flow.sigma_max());
  return Make(n, [&](int i) {
    return std::exp(log_min + std::pow(Linspace(1, 0, n, i), rho) * (log_max - log_min));
  });
}

Sigmas Exponential(const RectifiedFlow& flow, int n, const ScheduleOptions&) {
  return PolyexponentialWithRho(flow, n, 1.0);
}

Sigmas Polyexponential(const RectifiedFlow& flow, int n, const ScheduleOptions& options) {
  return PolyexponentialWithRho(flow, n, options.rho == 0 ? 1.0 : options.rho);
}

Sigmas KlOptimal(const RectifiedFlow& flow, int n, const ScheduleOptions&) {
  const double angle_max = std::atan(flow.sigma_max());
  const double angle_min = std::atan(flow.sigma_min());
  return Make(
      n + 1, [&](int i) { return std::tan(Linspace(angle_max, angle_min, n + 1, i)); }, false);
}

constexpr std::array kSchedulers = std::to_array<Scheduler>({
    {"uniform", "Uniform", "", Uniform},
    {"karras", "Karras", "", Karras},
    {"exponential", "Exponential", "", Exponential},
    {"polyexponential", "Polyexponential", "", Polyexponential},
    {"sgm_uniform", "SGM Uniform", "SGMUniform", SgmUniform},
    {"kl_optimal", "KL Optimal", "", KlOptimal},
    {"simple", "Simple", "", Simple},
    {"normal", "Normal", "", Normal},
    {"ddim", "DDIM", "", Ddim},
    {"beta", "Beta", "", Beta},
});

}  // namespace

double RectifiedFlow::Sigma(double t) const {
  return std::exp(mu) / (std::exp(mu) + (1.0 / t - 1.0));
}

void AddNoise(float sigma, std::span<const float> noise, std::span<float> x) {
  INGOT_CHECK(noise.size() == x.size());
  for (size_t i = 0; i < x.size(); ++i) x[i] = sigma * noise[i] + (1.0f - sigma) * x[i];
}

void ToDenoised(float sigma, std::span<const float> x, std::span<const float> output,
                std::span<float> denoised) {
  INGOT_CHECK(output.size() == x.size() && denoised.size() == x.size());
  for (size_t i = 0; i < x.size(); ++i) denoised[i] = x[i] - sigma * output[i];
}

std::span<const Scheduler> Schedulers() { return kSchedulers; }

Result<const Scheduler*> FindScheduler(std::string_view name) {
  std::string known;
  for (const Scheduler& scheduler : kSchedulers) {
    for (std::string_view alias : {scheduler.name, scheduler.label, scheduler.alias}) {
      if (!alias.empty() && SameName(name, alias)) return &scheduler;
    }
    known += fmt::format("{}{}", known.empty() ? "" : ", ", scheduler.label);
  }
  return InvalidArgument("scheduler: expected one of {}; found '{}'", known, name);
}

Result<std::vector<float>> MakeSigmas(const Scheduler& scheduler, const RectifiedFlow& flow,
                                      int num_steps, const ScheduleOptions& options) {
  if (num_steps < 1 || num_steps > kMaxSteps) {
    return InvalidArgument("steps: expected 1 to {}, found {}", kMaxSteps, num_steps);
  }
  const auto in_range = [](double v) { return v >= 0.1 && v <= 100.0; };
  if (options.rho != 0 && !in_range(options.rho)) {
    return InvalidArgument("rho: expected 0.1 to 100, found {}", options.rho);
  }
  if (!in_range(options.beta_alpha) || !in_range(options.beta_beta)) {
    return InvalidArgument(
        "beta schedule: expected alpha and beta from 0.1 to 100, found {} and {}",
        options.beta_alpha, options.beta_beta);
  }
  const Sigmas exact = scheduler.sigmas(flow, num_steps, options);
  std::vector<float> sigmas(exact.begin(), exact.end());
  for (size_t i = 1; i < sigmas.size(); ++i) {
    if (sigmas[i] < sigmas[i - 1]) continue;
    return InvalidArgument("scheduler {}: {} steps are too many, step {} does not move",
                           scheduler.label, num_steps, i);
  }
  return sigmas;
}

int FirstStepOfImg2Img(int num_steps, double denoising_strength) {
  const double strength = std::max(0.0, std::min(denoising_strength, 0.999));  // NaN becomes 0
  return num_steps - static_cast<int>(strength * num_steps) - 1;
}

}  // namespace ingot
