// Linear layers: prologue, product with the weight on the tensor cores, epilogue.
#pragma once

#include <cstdint>

#include "devices/cuda/context.h"
#include "devices/op_call.h"
#include "graph/op.h"

namespace ingot::cuda {

// kF32 is exact to f32's rounding. Every other op.compute rounds the rows and the weight to bf16
// and sums in f32 (matmul.h); the prologue and the epilogue are in f32.
//
// The workspace holds the rows (in bf16 or f32), the weight in pieces of whole rows of N, what the
// product needs, and, where there is an epilogue, a piece of the product.
void Run(const op::Linear& op, const OpCall& call, const Context& context);
int64_t WorkspaceBytes(const op::Linear& op, const OpSignature& signature);

// Runs are rows: of all operands but weight and bias.
bool AcceptsRuns(const op::Linear& op, int input_idx);
// The residual.
int AliasOf(const op::Linear& op);
// The weight in any type that IsWeightType.
bool AcceptsDType(const op::Linear& op, int input_idx, DType dtype);

}  // namespace ingot::cuda
