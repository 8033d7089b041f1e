// Ops that only move elements.
#include <algorithm>
#include <span>
#include <vector>

#include "devices/cpu/reference/operand.h"
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
  const std::vector<float> x = Load(call.inputs[0]);
  std::vector<float> out(static_cast<size_t>(call.output.shape.num_elements()));
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
  Store(out, call.output);
}

void Run(const op::Slice& op, const OpCall& call, ThreadPool&) {
  const AxisSplit from(call.inputs[0].shape, op.axis), to(call.output.shape, op.axis);
  const std::vector<float> x = Load(call.inputs[0]);
  std::vector<float> out(static_cast<size_t>(call.output.shape.num_elements()));
  for (size_t o = 0; o < to.outer; ++o) {
    const size_t begin = o * from.row + static_cast<size_t>(op.begin) * from.inner;
    std::ranges::copy(std::span(x).subspan(begin, to.row),
                      std::span(out).subspan(o * to.row).begin());
  }
  Store(out, call.output);
}

void Run(const op::Concat& op, const OpCall& call, ThreadPool&) {
  const AxisSplit to(call.output.shape, op.axis);
  std::vector<float> out(static_cast<size_t>(call.output.shape.num_elements()));
  size_t begin = 0;
  for (const ConstTensorView& input : call.inputs) {
    const std::vector<float> x = Load(input);
    const AxisSplit from(input.shape, op.axis);
    for (size_t o = 0; o < to.outer; ++o) {
      std::ranges::copy(std::span(x).subspan(o * from.row, from.row),
                        std::span(out).subspan(o * to.row + begin).begin());
    }
    begin += from.row;
  }
  Store(out, call.output);
}

void Run(const op::UpsampleNearest2x&, const OpCall& call, ThreadPool&) {
  const Shape& shape = call.output.shape;
  const std::vector<float> x = Load(call.inputs[0]);
  const size_t channels = static_cast<size_t>(shape[3]), width = static_cast<size_t>(shape[2]);
  std::vector<float> out(static_cast<size_t>(shape.num_elements()));
  for (size_t i = 0; i < out.size(); ++i) {
    const size_t column = i / channels % width, row = i / channels / width;
    out[i] = x[(row / 2 * (width / 2) + column / 2) * channels + i % channels];
  }
  Store(out, call.output);
}

}  // namespace ingot::cpu::reference
