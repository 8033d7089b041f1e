// Normalizations: statistics in double, two passes.
#include <cmath>
#include <span>
#include <vector>

#include "devices/cpu/reference/operand.h"
#include "devices/cpu/reference/reference.h"

namespace ingot::cpu::reference {
namespace {

template <typename T>
double Mean(std::span<const T> x) {
  double sum = 0.0;
  for (T v : x) sum += v;
  return sum / static_cast<double>(x.size());
}

template <typename T>
double MeanSquare(std::span<const T> x, double center) {
  double sum = 0.0;
  for (T v : x) sum += (v - center) * (v - center);
  return sum / static_cast<double>(x.size());
}

// Mean and 1 / sqrt(variance + eps) of each group of every picture.
std::vector<double> GroupStats(const ConstTensorView& view, std::span<const float> x,
                               int num_groups, float eps) {
  const Shape& shape = view.shape;
  const size_t channels = static_cast<size_t>(shape[3]), groups = static_cast<size_t>(num_groups);
  const size_t picture = static_cast<size_t>(shape[1] * shape[2]) * channels;
  const size_t group_channels = channels / groups;
  std::vector<double> stats;
  for (size_t begin = 0; begin < x.size(); begin += picture) {
    for (size_t group = 0; group < groups; ++group) {
      std::vector<float> members;
      for (size_t i = begin; i < begin + picture; i += channels) {
        const auto first = x.begin() + static_cast<int64_t>(i + group * group_channels);
        members.insert(members.end(), first, first + static_cast<int64_t>(group_channels));
      }
      const std::span<const float> values = members;
      const double mean = Mean(values);
      stats.push_back(mean);
      stats.push_back(1.0 / std::sqrt(MeanSquare(values, mean) + eps));
    }
  }
  return stats;
}

}  // namespace

void NormalizeRow(std::span<double> x, double eps) {
  const double mean = Mean<double>(x);
  const double inv_std = 1.0 / std::sqrt(MeanSquare<double>(x, mean) + eps);
  for (double& value : x) value = (value - mean) * inv_std;
}

void Run(const op::LayerNorm& op, const OpCall& call, ThreadPool&) {
  const std::vector<float> x = Load(call.inputs[0]);
  const size_t width = static_cast<size_t>(call.output.shape.back());
  std::vector<float> out(x.size());
  for (size_t begin = 0; begin < x.size(); begin += width) {
    std::vector<double> row(x.begin() + static_cast<int64_t>(begin),
                            x.begin() + static_cast<int64_t>(begin + width));
    NormalizeRow(row, op.eps);
    for (size_t i = 0; i < width; ++i) {
      double y = row[i];
      if (call.inputs.size() == 3) {
        y = y * call.inputs[1].As<float>()[i] + call.inputs[2].As<float>()[i];
      }
      out[begin + i] = static_cast<float>(y);
    }
  }
  Store(out, call.output);
}

void Run(const op::RmsNorm& op, const OpCall& call, ThreadPool&) {
  const std::vector<float> all = Load(call.inputs[0]);
  const auto weight = call.inputs[1].As<float>();
  const size_t width = weight.size();
  std::vector<float> out(all.size());
  for (size_t begin = 0; begin < out.size(); begin += width) {
    const std::span<const float> x = std::span(all).subspan(begin, width);
    const double inv_rms = 1.0 / std::sqrt(MeanSquare(x, 0.0) + op.eps);
    for (size_t i = 0; i < width; ++i) {
      out[begin + i] = static_cast<float>(x[i] * inv_rms * weight[i]);
    }
  }
  Store(out, call.output);
}

void Run(const op::GroupNorm& op, const OpCall& call, ThreadPool&) {
  const std::vector<float> x = Load(call.inputs[0]);
  const auto weight = call.inputs[1].As<float>();
  const auto bias = call.inputs[2].As<float>();
  const std::vector<double> stats = GroupStats(call.inputs[0], x, op.num_groups, op.eps);
  const size_t channels = weight.size(), groups = static_cast<size_t>(op.num_groups);
  const size_t picture = x.size() / static_cast<size_t>(call.output.shape[0]);
  std::vector<float> out(x.size());
  for (size_t i = 0; i < x.size(); ++i) {
    const size_t c = i % channels;
    const size_t group = i / picture * groups + c / (channels / groups);
    out[i] =
        static_cast<float>((x[i] - stats[2 * group]) * stats[2 * group + 1] * weight[c] + bias[c]);
  }
  Store(out, call.output);
}

void Run(const op::GroupNormStats& op, const OpCall& call, ThreadPool&) {
  const std::vector<double> stats =
      GroupStats(call.inputs[0], Load(call.inputs[0]), op.num_groups, op.eps);
  Store(std::vector<float>(stats.begin(), stats.end()), call.output);
}

}  // namespace ingot::cpu::reference
