// Ops on each element alone.
#include <cmath>
#include <vector>

#include "devices/cpu/reference/operand.h"
#include "devices/cpu/reference/reference.h"

namespace ingot::cpu::reference {
namespace {

double Sigmoid(double x) { return 1.0 / (1.0 + std::exp(-x)); }

double Apply(op::UnaryKind kind, double x) {
  constexpr double kSqrt2OverPi = 0.79788456080286535588;
  switch (kind) {
    case op::UnaryKind::kSilu:
      return x * Sigmoid(x);
    case op::UnaryKind::kGeluTanh:
      return 0.5 * x * (1.0 + std::tanh(kSqrt2OverPi * (x + 0.044715 * x * x * x)));
    case op::UnaryKind::kQuickGelu:
      return x * Sigmoid(1.702 * x);
  }
  INGOT_CHECK(false);
}

// Index of the element of `in` that stands at `index` of the broadcast `out`.
size_t BroadcastIndex(const Shape& in, const Shape& out, size_t index) {
  size_t result = 0;
  size_t stride = 1;
  for (int axis = out.rank() - 1; axis >= 0; --axis) {
    const size_t dim = static_cast<size_t>(out[axis]);
    if (in[axis] != 1) result += index % dim * stride;
    index /= dim;
    stride *= static_cast<size_t>(in[axis]);
  }
  return result;
}

}  // namespace

double GeluTanh(double x) { return Apply(op::UnaryKind::kGeluTanh, x); }

void Run(const op::Binary& op, const OpCall& call, ThreadPool&) {
  const std::vector<float> a = Load(call.inputs[0]), b = Load(call.inputs[1]);
  std::vector<float> out(static_cast<size_t>(call.output.shape.num_elements()));
  for (size_t i = 0; i < out.size(); ++i) {
    const double left = a[BroadcastIndex(call.inputs[0].shape, call.output.shape, i)];
    const double right = b[BroadcastIndex(call.inputs[1].shape, call.output.shape, i)];
    out[i] = static_cast<float>(op.kind == op::BinaryKind::kAdd ? left + right : left * right);
  }
  Store(out, call.output);
}

void Run(const op::Unary& op, const OpCall& call, ThreadPool&) {
  std::vector<float> x = Load(call.inputs[0]);
  for (float& value : x) value = static_cast<float>(Apply(op.kind, value));
  Store(x, call.output);
}

void Run(const op::Affine& op, const OpCall& call, ThreadPool&) {
  std::vector<float> x = Load(call.inputs[0]);
  for (float& value : x) {
    value = static_cast<float>(static_cast<double>(op.scale) * value + op.shift);
  }
  Store(x, call.output);
}

}  // namespace ingot::cpu::reference
