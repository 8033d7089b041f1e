// Normalizations: statistics in double, two passes.
#include <cmath>
#include <span>

#include "devices/cpu/reference/reference.h"

namespace ingot::cpu::reference {
namespace {

double Mean(std::span<const float> x) {
  double sum = 0.0;
  for (float v : x) sum += v;
  return sum / static_cast<double>(x.size());
}

double MeanSquare(std::span<const float> x, double center) {
  double sum = 0.0;
  for (float v : x) sum += (v - center) * (v - center);
  return sum / static_cast<double>(x.size());
}

}  // namespace

void Run(const op::LayerNorm& op, const OpCall& call, ThreadPool&) {
  const auto out = call.output.As<float>();
  const size_t width = static_cast<size_t>(call.output.shape.back());
  for (size_t begin = 0; begin < out.size(); begin += width) {
    const auto x = call.inputs[0].As<float>().subspan(begin, width);
    const double mean = Mean(x);
    const double inv_std = 1.0 / std::sqrt(MeanSquare(x, mean) + op.eps);
    for (size_t i = 0; i < width; ++i) {
      double y = (x[i] - mean) * inv_std;
      if (call.inputs.size() == 3) {
        y = y * call.inputs[1].As<float>()[i] + call.inputs[2].As<float>()[i];
      }
      out[begin + i] = static_cast<float>(y);
    }
  }
}

void Run(const op::RmsNorm& op, const OpCall& call, ThreadPool&) {
  const auto weight = call.inputs[1].As<float>();
  const auto out = call.output.As<float>();
  const size_t width = weight.size();
  for (size_t begin = 0; begin < out.size(); begin += width) {
    const auto x = call.inputs[0].As<float>().subspan(begin, width);
    const double inv_rms = 1.0 / std::sqrt(MeanSquare(x, 0.0) + op.eps);
    for (size_t i = 0; i < width; ++i) {
      out[begin + i] = static_cast<float>(x[i] * inv_rms * weight[i]);
    }
  }
}

void Run(const op::GroupNorm& op, const OpCall& call, ThreadPool&) {
  const Shape& shape = call.output.shape;
  const auto weight = call.inputs[1].As<float>();
  const auto bias = call.inputs[2].As<float>();
  const auto out = call.output.As<float>();
  const size_t channels = static_cast<size_t>(shape[1]);
  const size_t pixels = static_cast<size_t>(shape[2] * shape[3]);
  const size_t group_size = channels / static_cast<size_t>(op.num_groups) * pixels;
  for (size_t begin = 0; begin < out.size(); begin += group_size) {
    const auto x = call.inputs[0].As<float>().subspan(begin, group_size);
    const double mean = Mean(x);
    const double inv_std = 1.0 / std::sqrt(MeanSquare(x, mean) + op.eps);
    for (size_t i = 0; i < group_size; ++i) {
      const size_t channel = (begin + i) / pixels % channels;
      out[begin + i] =
          static_cast<float>((x[i] - mean) * inv_std * weight[channel] + bias[channel]);
    }
  }
}

}  // namespace ingot::cpu::reference
