// What tells a network where and when a token is: timestep embedding, rotary
// tables and their use, T5's position bias.
#include <algorithm>
#include <cmath>
#include <span>
#include <vector>

#include "devices/cpu/reference/operand.h"
#include "devices/cpu/reference/reference.h"

namespace ingot::cpu::reference {
namespace {

// Pairs of x [B, L, H, Dh] turned by table [B, L, Dh/2, 2].
std::vector<float> Turn(std::span<const float> x, std::span<const float> table,
                        const Shape& shape) {
  const size_t head_dim = static_cast<size_t>(shape[3]);
  const size_t token = static_cast<size_t>(shape[2]) * head_dim;
  std::vector<float> out(x.size());
  for (size_t i = 0; i < x.size(); i += 2) {
    const size_t angle = i / token * head_dim + i % head_dim;
    const double cos = table[angle], sin = table[angle + 1];
    out[i] = static_cast<float>(x[i] * cos - x[i + 1] * sin);
    out[i + 1] = static_cast<float>(x[i] * sin + x[i + 1] * cos);
  }
  return out;
}

}  // namespace

// In f32 as there: at distances such as 64 the last bit of the logarithm picks
// the bucket.
int RelativePositionBucket(int64_t relative_position, int num_buckets, int max_distance) {
  const int half = num_buckets / 2;
  const int max_exact = half / 2;
  const int sign = relative_position > 0 ? half : 0;
  const int64_t distance = std::abs(relative_position);
  if (distance < max_exact) return sign + static_cast<int>(distance);
  const float log_distance =
      std::log(static_cast<float>(distance) / static_cast<float>(max_exact)) /
      static_cast<float>(std::log(static_cast<double>(max_distance) / max_exact)) *
      static_cast<float>(half - max_exact);
  return sign + std::min(max_exact + static_cast<int>(log_distance), half - 1);
}

void Run(const op::TimestepEmbedding& op, const OpCall& call, ThreadPool&) {
  const auto t = call.inputs[0].As<float>();
  const auto out = call.output.As<float>();
  const size_t half = static_cast<size_t>(op.dim / 2);
  for (size_t b = 0; b < t.size(); ++b) {
    for (size_t i = 0; i < half; ++i) {
      const double exponent = -static_cast<double>(i) / static_cast<double>(half);
      const double angle = static_cast<double>(op.time_factor) * t[b] *
                           std::pow(static_cast<double>(op.max_period), exponent);
      out[b * 2 * half + i] = static_cast<float>(std::cos(angle));
      out[b * 2 * half + half + i] = static_cast<float>(std::sin(angle));
    }
  }
}

void Run(const op::RopeTable& op, const OpCall& call, ThreadPool&) {
  const auto ids = call.inputs[0].As<float>();
  float* out = call.output.As<float>().data();
  for (size_t token = 0; token < ids.size() / op.axes_dim.size(); ++token) {
    for (size_t axis = 0; axis < op.axes_dim.size(); ++axis) {
      for (int i = 0; i < op.axes_dim[axis] / 2; ++i) {
        const double angle = ids[token * op.axes_dim.size() + axis] *
                             std::pow(static_cast<double>(op.theta), -2.0 * i / op.axes_dim[axis]);
        *out++ = static_cast<float>(std::cos(angle));
        *out++ = static_cast<float>(std::sin(angle));
      }
    }
  }
}

void Run(const op::Rope&, const OpCall& call, ThreadPool&) {
  Store(Turn(Load(call.inputs[0]), call.inputs[1].As<float>(), call.output.shape), call.output);
}

void Run(const op::RmsNormRope& op, const OpCall& call, ThreadPool&) {
  std::vector<float> x = Load(call.inputs[0]);
  const auto weight = call.inputs[1].As<float>();
  for (size_t begin = 0; begin < x.size(); begin += weight.size()) {
    double square = 0.0;
    for (size_t i = 0; i < weight.size(); ++i) square += double{x[begin + i]} * x[begin + i];
    const double inv_rms = 1.0 / std::sqrt(square / static_cast<double>(weight.size()) + op.eps);
    for (size_t i = 0; i < weight.size(); ++i) {
      x[begin + i] = static_cast<float>(x[begin + i] * inv_rms * weight[i]);
    }
  }
  Store(Turn(x, call.inputs[2].As<float>(), call.output.shape), call.output);
}

void Run(const op::RelativePositionBias& op, const OpCall& call, ThreadPool&) {
  const Shape& shape = call.inputs[0].shape;
  const auto table = call.inputs[0].As<float>();
  float* out = call.output.As<float>().data();
  for (int64_t h = 0; h < shape[1]; ++h) {
    for (int64_t i = 0; i < op.length; ++i) {
      for (int64_t j = 0; j < op.length; ++j) {
        const int bucket =
            RelativePositionBucket(j - i, static_cast<int>(shape[0]), op.max_distance);
        *out++ = table[static_cast<size_t>(bucket * shape[1] + h)];
      }
    }
  }
}

}  // namespace ingot::cpu::reference
