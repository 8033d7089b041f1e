// Linear layers: prologue, product with the weight on the tensor cores, epilogue.
#pragma once

#include <cstdint>

#include "devices/cuda/context.h"
#include "devices/op_call.h"
#include "graph/op.h"

namespace ingot::cuda {

// kF32 is exact to f32's rounding. Every other op.compute rounds the rows and the weight to the
// 16 bits that the GPU multiplies (Matmul::half_type) and sums in f32; the prologue and the
// epilogue are in f32.
//
// f16 ends at 65504, and rows of T5-XXL and FLUX go beyond. So there each row is multiplied by a
// power of two that its largest magnitude alone decides, and its result by the inverse before the
// bias is added. A row with an infinity or a NaN gives infinities or NaNs. Weights are not scaled:
// those of checkpoints are far below 65504; one beyond becomes infinite, which is found behind the
// network, and one below 2^-14 keeps its multiple of 2^-24.
//
// The workspace holds the rows, a factor for each, the weight in pieces of whole rows of N, what
// the product needs, and, where there is an epilogue, a piece of the product. It is the same for
// both types of 16 bits.
void Run(const op::Linear& op, const OpCall& call, const Context& context);
int64_t WorkspaceBytes(const op::Linear& op, const OpSignature& signature);

// Runs are rows: of all operands but weight and bias.
bool AcceptsRuns(const op::Linear& op, int input_idx);
// The residual.
int AliasOf(const op::Linear& op);
// The weight in any type that IsWeightType.
bool AcceptsDType(const op::Linear& op, int input_idx, DType dtype);

}  // namespace ingot::cuda
