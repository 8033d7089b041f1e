// Rotary turns and T5's position bias. The tables they start from are made once
// a picture, by the reference kernels.
#pragma once

#include "base/thread_pool.h"
#include "devices/device.h"
#include "graph/op.h"

namespace ingot::cpu {

// x and the output contiguous or in runs of one token, H * Dh elements; the output
// may take x's place.
void Run(const op::Rope& op, const OpCall& call, ThreadPool& pool);
inline bool AcceptsRuns(const op::Rope&, int input_idx) { return input_idx <= 0; }
inline int AliasOf(const op::Rope&) { return 0; }

// In one pass; the bits of RmsNorm (norm.h) and then Rope. Operands as Rope's.
void Run(const op::RmsNormRope& op, const OpCall& call, ThreadPool& pool);
inline bool AcceptsRuns(const op::RmsNormRope&, int input_idx) { return input_idx <= 0; }
inline int AliasOf(const op::RmsNormRope&) { return 0; }

// Element [i, j] of a head is element [i-1, j-1]: only the first row and column
// look up a bucket.
void Run(const op::RelativePositionBias& op, const OpCall& call, ThreadPool& pool);

}  // namespace ingot::cpu
