// Normalizations over the last dimension, in f32: a team of threads a row (rows.h), the mean in a
// pass of its own before the variance.
#pragma once

#include "devices/cuda/context.h"
#include "devices/op_call.h"
#include "graph/op.h"

namespace ingot::cuda {

void Run(const op::LayerNorm& op, const OpCall& call, const Context& context);
void Run(const op::RmsNorm& op, const OpCall& call, const Context& context);

// Runs of a whole number of rows. A row has been summed before the first of it is written.
inline bool AcceptsRuns(const op::LayerNorm&, int input_idx) { return input_idx <= 0; }
inline bool AcceptsRuns(const op::RmsNorm&, int input_idx) { return input_idx <= 0; }
inline int AliasOf(const op::LayerNorm&) { return 0; }
inline int AliasOf(const op::RmsNorm&) { return 0; }

}  // namespace ingot::cuda
