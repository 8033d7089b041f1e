// Attention over tokens whose heads lie beside each other.
#pragma once

#include <cstdint>

#include "devices/cuda/context.h"
#include "devices/op_call.h"
#include "graph/op.h"

namespace ingot::cuda {

// q, k, v and the output contiguous or in runs of one token, H * Dh elements; the bias contiguous.
// A call may hold some of the queries of one picture, with all its keys; those of a causal op or of
// one with a bias are not cut. Dh is at most 512.
//
// kF32, and every causal op, is exact to f32's rounding. Every other op.compute multiplies on the
// tensor cores: q, k, v and the weights of the values rounded to bf16 (f16 before compute
// capability 8.0), scores and sums in f32. Both are one pass over blocks of keys (FlashAttention-2,
// Dao 2023, algorithm 1). The result of a query does not depend on the other queries, nor on which
// of them are in the call.
//
// The workspace holds q, k and v in the kernel's order, L rounded up to 64 and Dh to 16: 2 bytes an
// element, 4 where the op is exact.
void Run(const op::Attention& op, const OpCall& call, const Context& context);
int64_t WorkspaceBytes(const op::Attention& op, const OpSignature& signature);

inline bool AcceptsRuns(const op::Attention&, int input_idx) { return input_idx < 3; }

}  // namespace ingot::cuda
