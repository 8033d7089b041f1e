// Tables of positions and time, and what turns by them.
#pragma once

#include "devices/cuda/context.h"
#include "devices/op_call.h"
#include "graph/op.h"

namespace ingot::cuda {

// Angles in double: f32 is off by 1e-4 where a token's number is large.
void Run(const op::TimestepEmbedding& op, const OpCall& call, const Context& context);
void Run(const op::RopeTable& op, const OpCall& call, const Context& context);

// x and the output contiguous or in runs of one token, H * Dh elements; the output may take x's
// place.
void Run(const op::Rope& op, const OpCall& call, const Context& context);
inline bool AcceptsRuns(const op::Rope&, int input_idx) { return input_idx <= 0; }
inline int AliasOf(const op::Rope&) { return 0; }

// In one pass.
void Run(const op::RmsNormRope& op, const OpCall& call, const Context& context);
inline bool AcceptsRuns(const op::RmsNormRope&, int input_idx) { return input_idx <= 0; }
inline int AliasOf(const op::RmsNormRope&) { return 0; }

void Run(const op::RelativePositionBias& op, const OpCall& call, const Context& context);

}  // namespace ingot::cuda
