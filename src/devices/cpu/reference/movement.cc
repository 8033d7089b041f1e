// Ops that only move elements.
#include <algorithm>

#include "devices/cpu/reference/reference.h"

namespace ingot::cpu::reference {
namespace {

// A tensor seen from one axis: [outer, dim, inner].
struct AxisSplit {
  AxisSplit(const Shape& shape, int axis) {
    for (int i = 0; i < axis; ++i) outer *= static_cast<size_t>(shape[i]);
    for (int i = axis; i < shape.rank(); ++i) row *= static_cast<size_t>(shape[i]);
    inner = row / static_cast<size_t>(shape[axis]);
  }
  size_t outer = 1;
  size_t row = 1;    // elements of one outer index
  size_t inner = 1;  // elements of one step along the axis
};

}  // namespace

void Run(const op::Permute& op, const OpCall& call, ThreadPool&) {
  const Shape &in = call.inputs[0].shape, &out_shape = call.output.shape;
  const auto x = call.inputs[0].As<float>();
  const auto out = call.output.As<float>();
  for (size_t i = 0; i < out.size(); ++i) {
    size_t rest = i, source = 0;
    for (int axis = out_shape.rank() - 1; axis >= 0; --axis) {
      const size_t dim = static_cast<size_t>(out_shape[axis]);
      const AxisSplit from(in, op.axes[static_cast<size_t>(axis)]);
      source += rest % dim * from.inner;
      rest /= dim;
    }
    out[i] = x[source];
  }
}

void Run(const op::Slice& op, const OpCall& call, ThreadPool&) {
  const AxisSplit from(call.inputs[0].shape, op.axis), to(call.output.shape, op.axis);
  const auto x = call.inputs[0].As<float>();
  const auto out = call.output.As<float>();
  for (size_t o = 0; o < to.outer; ++o) {
    const size_t begin = o * from.row + static_cast<size_t>(op.begin) * from.inner;
    std::ranges::copy(x.subspan(begin, to.row), out.subspan(o * to.row).begin());
  }
}

void Run(const op::Concat& op, const OpCall& call, ThreadPool&) {
  const AxisSplit to(call.output.shape, op.axis);
  const auto out = call.output.As<float>();
  size_t begin = 0;
  for (const ConstTensorView& input : call.inputs) {
    const AxisSplit from(input.shape, op.axis);
    for (size_t o = 0; o < to.outer; ++o) {
      std::ranges::copy(input.As<float>().subspan(o * from.row, from.row),
                        out.subspan(o * to.row + begin).begin());
    }
    begin += from.row;
  }
}

void Run(const op::UpsampleNearest2x&, const OpCall& call, ThreadPool&) {
  const auto x = call.inputs[0].As<float>();
  const auto out = call.output.As<float>();
  const size_t width = static_cast<size_t>(call.output.shape[3]);
  for (size_t i = 0; i < out.size(); ++i) {
    out[i] = x[i / width / 2 * (width / 2) + i % width / 2];
  }
}

}  // namespace ingot::cpu::reference
