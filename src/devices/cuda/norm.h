// Normalizations over the last dimension, in f32: a block a row, two passes over the row.
#pragma once

#include "devices/cuda/context.h"
#include "devices/op_call.h"
#include "graph/op.h"

namespace ingot::cuda {

void Run(const op::LayerNorm& op, const OpCall& call, const Context& context);
void Run(const op::RmsNorm& op, const OpCall& call, const Context& context);

}  // namespace ingot::cuda
