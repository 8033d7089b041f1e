// UniPC: a multistep predictor with a corrector that costs no evaluation. arXiv:2302.04867.
#include <array>
#include <cmath>

#include "sampling/step.h"

namespace ingot {
namespace {

constexpr int kMaxOrder = 3;

// Solves the leading n x n part of the Vandermonde system sum_j rho_j r_j^k = b_k, n <= 3.
std::array<double, 3> SolveVandermonde(const std::array<double, 3>& r, std::array<double, 3> b,
                                       int n) {
  // Bjorck and Pereyra's algorithm for the dual system.
  for (int k = 0; k < n - 1; ++k) {
    for (int j = n - 1; j > k; --j) b[j] -= r[k] * b[j - 1];
  }
  for (int k = n - 2; k >= 0; --k) {
    for (int j = k + 1; j < n; ++j) b[j] /= r[j] - r[j - k - 1];
    for (int j = k; j < n - 1; ++j) b[j] -= b[j + 1];
  }
  return b;
}

// b_k = (k + 1)! phi_{k+2}(z), where phi_k(z) = sum_i z^i / (i + k)! = z phi_{k+1}(z) + 1 / k!.
std::array<double, 3> RightHandSide(double z) {
  std::array<double, 3> b = {};
  if (std::abs(z) < 1.0) {  // the recurrence would cancel: at z 3e-4 b_2 had 5 digits left
    for (int k = 0; k < 3; ++k) {
      double term = 1.0 / (k + 2);
      for (int i = 0; i < 18; ++i) {  // 1 / 18! is below the last bit
        b[k] += term;
        term *= z / (i + k + 3);
      }
    }
    return b;
  }
  double phi = std::expm1(z) / z, factorial = 1.0;
  for (int k = 0; k < 3; ++k) {
    phi = (phi - 1.0 / factorial) / z;
    b[k] = phi * factorial;
    factorial *= k + 2;
  }
  return b;
}

// Coefficients of a step from s to s' in x = at_x x + sum_k at_model[k] D_k; D_0 is the answer at
// s, D_1 and D_2 the ones before, D_3 (corrector only) the one at s'.
struct Coefficients {
  double at_x;
  std::array<double, 4> at_model = {};
};

Coefficients StepCoefficients(std::span<const float> sigmas, int step, int order, bool correct) {
  const double s = sigmas[step], s_next = sigmas[step + 1];
  const double ratio = s_next / s;
  Coefficients out = {.at_x = ratio, .at_model = {1.0 - ratio}};
  const int num_nodes = correct ? order : order - 1;
  if (num_nodes == 0) return out;
  const double hh = std::log(ratio);  // -h, of the data-prediction form
  std::array<double, 3> node = {1.0, 1.0, 1.0};
  for (int k = 1; k < order; ++k) node[k - 1] = std::log(sigmas[step - k] / s) / hh;
  std::array<double, 3> rho = SolveVandermonde(node, RightHandSide(hh), num_nodes);
  if (num_nodes == 1) rho[0] = 0.5;  // the reference's simplification where one node is left
  for (int k = 0; k < num_nodes; ++k) {
    const double weight = -hh * rho[k] / node[k];
    const bool is_next = k == order - 1;
    out.at_model[is_next ? 3 : k + 1] += weight;
    out.at_model[0] -= weight;
  }
  return out;
}

}  // namespace

Status SampleUniPc(const SamplerRun& run) {
  std::array<std::span<float>, 4> model;
  for (int k = 0; k < 4; ++k) model[k] = Buffer(run, k);
  const std::span<float> predicted = Buffer(run, 4);
  const int num_steps = NumSteps(run);
  INGOT_RETURN_IF_ERROR(BeginStep(run, 0, run.sigmas[0], model[0]));
  for (int i = 0; i < num_steps; ++i) {
    const int order = std::min({kMaxOrder, i + 1, num_steps - i});
    const auto advance = [&](bool correct, std::span<float> out) {
      const Coefficients c = StepCoefficients(run.sigmas, i, order, correct);
      Combine(out, {{c.at_x, run.x}, {c.at_model[0], model[0]}});
      for (int k = 1; k < order; ++k) Combine(out, {{1.0, out}, {c.at_model[k], model[k]}});
      if (correct) Combine(out, {{1.0, out}, {c.at_model[3], model[3]}});
    };
    if (i + 1 == num_steps) {
      advance(false, run.x);
      break;
    }
    advance(false, predicted);
    const float sigma_next = run.sigmas[i + 1];
    INGOT_RETURN_IF_ERROR(run.denoise(predicted, sigma_next, model[3]));
    advance(true, run.x);
    model = {model[3], model[0], model[1], model[2]};
    if (!run.on_step) continue;
    INGOT_RETURN_IF_ERROR(run.on_step(
        {.step_idx = i + 1, .num_steps = num_steps, .sigma = sigma_next, .denoised = model[0]}));
  }
  return {};
}

}  // namespace ingot
