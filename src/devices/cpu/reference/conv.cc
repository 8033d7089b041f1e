// Convolution: every output is one sum over its window.
#include <cmath>
#include <vector>

#include "devices/cpu/dequantize.h"
#include "devices/cpu/reference/operand.h"
#include "devices/cpu/reference/reference.h"

namespace ingot::cpu::reference {
namespace {

// What the window slides over: x, or silu(group_norm(x)).
std::vector<float> LoadPicture(const op::Conv2d& op, std::span<const ConstTensorView> inputs) {
  std::vector<float> x = Load(inputs[0]);
  if (!op.norm_silu) return x;
  const op::Conv2dOperands at = op::OperandsOf(op);
  const auto operand = [&](int idx) { return Load(inputs[static_cast<size_t>(idx)]); };
  const std::vector<float> stats = operand(at.stats), weight = operand(at.norm_weight),
                           bias = operand(at.norm_bias);
  const Shape& shape = inputs[0].shape;
  const size_t channels = static_cast<size_t>(shape[3]);
  const size_t picture = static_cast<size_t>(shape[1] * shape[2]) * channels;
  const size_t groups = static_cast<size_t>(inputs[static_cast<size_t>(at.stats)].shape[1]);
  for (size_t i = 0; i < x.size(); ++i) {
    const size_t c = i % channels;
    const size_t group = i / picture * groups + c / (channels / groups);
    const double y =
        (static_cast<double>(x[i]) - stats[2 * group]) * stats[2 * group + 1] * weight[c] + bias[c];
    x[i] = static_cast<float>(y / (1.0 + std::exp(-y)));
  }
  return x;
}

// weight [O, C, kh, kw] -> [O, kh, kw, C], as the window's rows lie.
std::vector<float> LoadFilters(const ConstTensorView& weight) {
  const Shape& s = weight.shape;
  const ConstTensorView flat = {
      weight.dtype, {s[0], s[1] * s[2] * s[3]}, weight.data, weight.scale};
  const size_t channels = static_cast<size_t>(s[1]), area = static_cast<size_t>(s[2] * s[3]);
  std::vector<float> filters(static_cast<size_t>(s.num_elements())), row(channels * area);
  for (int64_t o = 0; o < s[0]; ++o) {
    DequantizeWeightRow(flat, o, row.data());
    float* filter = filters.data() + static_cast<size_t>(o) * row.size();
    for (size_t i = 0; i < row.size(); ++i) filter[i % area * channels + i / area] = row[i];
  }
  return filters;
}

}  // namespace

void Run(const op::Conv2d& op, const OpCall& call, ThreadPool& pool) {
  const op::Conv2dOperands at = op::OperandsOf(op);
  const ConstTensorView& weight = call.inputs[static_cast<size_t>(at.weight)];
  const auto load_if = [&](int idx) {
    return idx < 0 ? std::vector<float>() : Load(call.inputs[static_cast<size_t>(idx)]);
  };
  const std::vector<float> x = LoadPicture(op, call.inputs), filters = LoadFilters(weight);
  const std::vector<float> bias = load_if(at.bias), residual = load_if(at.residual);

  const Shape& in = call.inputs[0].shape;
  const Shape& shape = call.output.shape;
  const int64_t channels = in[3], kh = weight.shape[2], kw = weight.shape[3];
  const int64_t height = in[1] * (op.upsample ? 2 : 1), width = in[2] * (op.upsample ? 2 : 1);
  std::vector<float> out(static_cast<size_t>(shape.num_elements()));
  pool.ParallelFor(static_cast<size_t>(shape[0] * shape[1]), [&](size_t item, size_t) {
    const int64_t picture = static_cast<int64_t>(item) / shape[1];
    const int64_t row = static_cast<int64_t>(item) % shape[1];
    size_t i = item * static_cast<size_t>(shape[2] * shape[3]);
    for (int64_t col = 0; col < shape[2]; ++col) {
      for (int64_t o = 0; o < shape[3]; ++o, ++i) {
        double sum = bias.empty() ? 0.0 : bias[static_cast<size_t>(o)];
        for (int64_t tap = 0; tap < kh * kw; ++tap) {
          int64_t y = row * op.stride + tap / kw - op.pad_top;
          int64_t z = col * op.stride + tap % kw - op.pad_left;
          if (y < 0 || y >= height || z < 0 || z >= width) continue;  // zeros
          if (op.upsample) y /= 2, z /= 2;
          const float* pixel = x.data() + ((picture * in[1] + y) * in[2] + z) * channels;
          const float* filter = filters.data() + (o * kh * kw + tap) * channels;
          for (int64_t c = 0; c < channels; ++c) sum += static_cast<double>(pixel[c]) * filter[c];
        }
        out[i] = static_cast<float>(residual.empty() ? sum : sum + residual[i]);
      }
    }
  });
  Store(out, call.output);
}

}  // namespace ingot::cpu::reference
