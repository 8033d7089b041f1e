// Convolutions of channels-last pictures, as products of windows on the tensor cores.
#pragma once

#include <cstdint>

#include "devices/cuda/context.h"
#include "devices/op_call.h"
#include "graph/op.h"

namespace ingot::cuda {

// x, residual and output in f32 or f16, weight in F32, F16 or BF16, the others in f32.
//
// The windows of a number of pixels are written as rows [pixels, kh * kw * C], with the norm, SiLU
// and upsampling of the op on the way, and multiplied with the filters [O, kh * kw * C] (matmul.h):
// in f32 where op.compute is kF32, else in the 16 bits that the GPU multiplies. The number of
// pixels at a time is a function of the op's shapes, and an element does not depend on it.
//
// Where these are f16, windows are not scaled as the rows of Linear are: a pass that lets
// convolutions take 16 bits keeps the pictures between them in f16 on every device
// (graph/passes/precision.h), so that a window holds what f16 already held, or silu of a norm,
// which is smaller. A picture or a filter beyond 65504 becomes infinite and is found behind the
// decoder.
void Run(const op::Conv2d& op, const OpCall& call, const Context& context);
int64_t WorkspaceBytes(const op::Conv2d& op, const OpSignature& signature);

// Pictures whose pixels are further apart than their channels.
inline bool AcceptsRuns(const op::Conv2d& op, int input_idx) {
  return input_idx <= 0 || input_idx == op::OperandsOf(op).residual;
}
inline bool AcceptsStrips(const op::Conv2d&) { return true; }
inline int AliasOf(const op::Conv2d& op) { return op::OperandsOf(op).residual; }
bool AcceptsDType(const op::Conv2d& op, int input_idx, DType dtype);

}  // namespace ingot::cuda
