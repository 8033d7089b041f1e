// Linear layer: every output is one dot product in double.
#include <cmath>
#include <vector>

#include "devices/cpu/dequantize.h"
#include "devices/cpu/reference/operand.h"
#include "devices/cpu/reference/reference.h"

namespace ingot::cpu::reference {
namespace {

// Rows of K values as the prologue makes them.
std::vector<double> MakeRows(const op::Linear& op, std::span<const ConstTensorView> inputs,
                             size_t k) {
  const std::vector<float> a = Load(inputs[0]);
  std::vector<double> x(a.begin(), a.end());
  switch (op.prologue) {
    case op::Prologue::kNone:
      return x;
    case op::Prologue::kGeluTanh:
      for (double& value : x) value = GeluTanh(value);
      return x;
    case op::Prologue::kGatedGeluTanh: {
      const std::vector<float> b = Load(inputs[1]);
      for (size_t i = 0; i < x.size(); ++i) x[i] = GeluTanh(x[i]) * b[i];
      return x;
    }
    case op::Prologue::kConcatGeluTanh: {
      const std::vector<float> b = Load(inputs[1]);
      const size_t kb = static_cast<size_t>(inputs[1].shape.back()), ka = k - kb;
      std::vector<double> joined(b.size() / kb * k);
      for (size_t i = 0; i < joined.size(); ++i) {
        const size_t row = i / k, column = i % k;
        joined[i] = column < ka ? x[row * ka + column] : GeluTanh(b[row * kb + column - ka]);
      }
      return joined;
    }
    case op::Prologue::kAdaLayerNorm: {
      const std::vector<float> shift = Load(inputs[1]), scale = Load(inputs[2]);
      const size_t rows_per_picture = static_cast<size_t>(inputs[0].shape[1]);
      for (size_t row = 0; row < x.size() / k; ++row) {
        const std::span<double> values = std::span(x).subspan(row * k, k);
        NormalizeRow(values, op.eps);
        const size_t modulation = row / rows_per_picture * k;
        for (size_t i = 0; i < k; ++i) {
          values[i] = (1.0 + scale[modulation + i]) * values[i] + shift[modulation + i];
        }
      }
      return x;
    }
  }
  INGOT_CHECK(false);
}

std::vector<float> LoadIf(std::span<const ConstTensorView> inputs, int idx) {
  return idx < 0 ? std::vector<float>() : Load(inputs[static_cast<size_t>(idx)]);
}

}  // namespace

void Run(const op::Linear& op, const OpCall& call, ThreadPool& pool) {
  const op::LinearOperands at = op::OperandsOf(op);
  const ConstTensorView& weight = call.inputs[static_cast<size_t>(at.weight)];
  const size_t features = static_cast<size_t>(weight.shape[0]);
  const size_t k = static_cast<size_t>(weight.shape[1]);
  const std::vector<double> x = MakeRows(op, call.inputs, k);
  const std::vector<float> bias = LoadIf(call.inputs, at.bias);
  const std::vector<float> residual = LoadIf(call.inputs, at.residual);
  const std::vector<float> gate = LoadIf(call.inputs, at.gate);
  const size_t rows = x.size() / k;
  const size_t rows_per_picture = gate.empty() ? rows : static_cast<size_t>(call.output.shape[1]);
  std::vector<float> out(rows * features);
  pool.ParallelFor(features, [&](size_t n, size_t) {
    std::vector<float> w(k);
    DequantizeWeightRow(weight, static_cast<int64_t>(n), w.data());
    for (size_t m = 0; m < rows; ++m) {
      double sum = bias.empty() ? 0.0 : bias[n];
      for (size_t i = 0; i < k; ++i) sum += x[m * k + i] * w[i];
      if (!gate.empty()) sum *= gate[m / rows_per_picture * features + n];
      if (!residual.empty()) sum += residual[m * features + n];
      out[m * features + n] = static_cast<float>(sum);
    }
  });
  Store(out, call.output);
}

}  // namespace ingot::cpu::reference
