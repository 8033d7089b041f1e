#include "devices/cuda/elementwise.h"

#include "devices/cuda/activation.h"
#include "devices/cuda/kernel.h"

namespace ingot::cuda {
namespace {

// Elements from one to the next along each dimension of the output: 0 where an operand repeats.
struct Strides {
  int64_t dims[Shape::kMaxRank];
  int64_t strides[Shape::kMaxRank];
  int rank;
  bool is_whole;  // no dimension repeats

  __device__ int64_t Of(int64_t i) const {
    if (is_whole) return i;
    int64_t offset = 0;
    for (int axis = rank - 1; axis >= 0; --axis) {
      offset += i % dims[axis] * strides[axis];
      i /= dims[axis];
    }
    return offset;
  }
};

Strides StridesOf(const Shape& in, const Shape& out) {
  Strides result = {.rank = out.rank(), .is_whole = in == out};
  int64_t stride = 1;
  for (int axis = out.rank() - 1; axis >= 0; --axis) {
    result.dims[axis] = out[axis];
    result.strides[axis] = in[axis] == 1 ? 0 : stride;
    stride *= in[axis];
  }
  return result;
}

struct BinaryOperand {
  Elements<const float> elements;
  Strides strides;
  __device__ float at(int64_t i) const { return elements[strides.Of(i)]; }
};

__global__ void BinaryKernel(op::BinaryKind kind, BinaryOperand a, BinaryOperand b,
                             Elements<float> out, int64_t num_elements) {
  const int64_t i = ThreadNumber();
  if (i >= num_elements) return;
  out[i] = kind == op::BinaryKind::kAdd ? a.at(i) + b.at(i) : a.at(i) * b.at(i);
}

__global__ void UnaryKernel(op::UnaryKind kind, Elements<const float> x, Elements<float> out,
                            int64_t num_elements) {
  const int64_t i = ThreadNumber();
  if (i < num_elements) out[i] = Activate(kind, x[i]);
}

__global__ void AffineKernel(float scale, float shift, Elements<const float> x, Elements<float> out,
                             int64_t num_elements) {
  const int64_t i = ThreadNumber();
  if (i < num_elements) out[i] = __fmaf_rn(scale, x[i], shift);
}

}  // namespace

void Run(const op::Binary& op, const OpCall& call, const Context& context) {
  const Shape& shape = call.output.shape;
  const auto operand = [&](size_t idx) -> BinaryOperand {
    return {ElementsOf<float>(call.inputs[idx]), StridesOf(call.inputs[idx].shape, shape)};
  };
  const int64_t count = shape.num_elements();
  Launch(GridOver(count), context.stream, BinaryKernel, op.kind, operand(0), operand(1),
         ElementsOf<float>(call.output), count);
}

void Run(const op::Unary& op, const OpCall& call, const Context& context) {
  const int64_t count = call.output.shape.num_elements();
  Launch(GridOver(count), context.stream, UnaryKernel, op.kind, ElementsOf<float>(call.inputs[0]),
         ElementsOf<float>(call.output), count);
}

void Run(const op::Affine& op, const OpCall& call, const Context& context) {
  const int64_t count = call.output.shape.num_elements();
  Launch(GridOver(count), context.stream, AffineKernel, op.scale, op.shift,
         ElementsOf<float>(call.inputs[0]), ElementsOf<float>(call.output), count);
}

}  // namespace ingot::cuda
