// Ops on each element alone, in f32.
#pragma once

#include "devices/cuda/context.h"
#include "devices/op_call.h"
#include "graph/op.h"

namespace ingot::cuda {

void Run(const op::Binary& op, const OpCall& call, const Context& context);
void Run(const op::Unary& op, const OpCall& call, const Context& context);
void Run(const op::Affine& op, const OpCall& call, const Context& context);

// Each element is read before its place is written.
inline bool AcceptsRuns(const op::Binary&, int) { return true; }
inline bool AcceptsRuns(const op::Unary&, int) { return true; }
inline bool AcceptsRuns(const op::Affine&, int) { return true; }
inline int AliasOf(const op::Unary&) { return 0; }
inline int AliasOf(const op::Affine&) { return 0; }

}  // namespace ingot::cuda
