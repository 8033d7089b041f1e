// Linear layers: prologue, product with the weight on the tensor cores, epilogue.
#pragma once

#include <cstdint>

#include "devices/cuda/context.h"
#include "devices/op_call.h"
#include "graph/op.h"

namespace ingot::cuda {

// kF32 is exact to f32's rounding. kF8 rounds the rows and the weight to e4m3 where the GPU
// multiplies it (Matmul::multiplies_f8) and N and K are multiples of 16. Every other op.compute,
// and kF8 elsewhere, rounds them to the 16 bits that the GPU multiplies (Matmul::half_type). Sums,
// the prologue and the epilogue are in f32.
//
// f16 ends at 65504, and rows of T5-XXL and FLUX go beyond; e4m3 ends at 448. So in both each row
// is multiplied by a power of two that its largest magnitude alone decides (row_scale.h), and its
// result by the inverse before the bias is added. A row with an infinity or a NaN gives infinities
// or NaNs. In e4m3 the same is done to each feature's row of the weight, but to a weight that is
// e4m3 already: it is read as it is, times its scale.
//
// In f16 weights are not scaled: those of checkpoints are far below 65504; one beyond becomes
// infinite, which is found behind the network, and one below 2^-14 keeps its multiple of 2^-24.
//
// The workspace holds the rows, a factor for each, for kF8 a factor for each feature of a piece,
// the weight in pieces of whole rows of N, what the product needs, and, where there is an epilogue,
// a piece of the product. It is the same on every GPU: rows and weight count as 16 bits in kF8 too.
void Run(const op::Linear& op, const OpCall& call, const Context& context);
int64_t WorkspaceBytes(const op::Linear& op, const OpSignature& signature);

// Runs are rows: of all operands but weight and bias.
bool AcceptsRuns(const op::Linear& op, int input_idx);
// The residual.
int AliasOf(const op::Linear& op);
// The weight in any type that IsWeightType.
bool AcceptsDType(const op::Linear& op, int input_idx, DType dtype);

}  // namespace ingot::cuda
