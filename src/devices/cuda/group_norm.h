// Group norm of channels-last pictures, and its statistics alone.
#pragma once

#include <cstdint>

#include "devices/cuda/context.h"
#include "devices/op_call.h"
#include "graph/op.h"

namespace ingot::cuda {

// x in f32 or f16. Each row of the picture has sums of its own in double, around the row's first
// pixel; the workspace holds those of every row, so any cut into strips gives the same bits.
void Run(const op::GroupNormStats& op, const OpCall& call, const Context& context);
int64_t WorkspaceBytes(const op::GroupNormStats& op, const OpSignature& signature);

// By these statistics, rounded to f32.
void Run(const op::GroupNorm& op, const OpCall& call, const Context& context);
int64_t WorkspaceBytes(const op::GroupNorm& op, const OpSignature& signature);

// Pictures whose pixels are further apart than their channels.
inline bool AcceptsRuns(const op::GroupNormStats&, int input_idx) { return input_idx == 0; }
inline bool AcceptsStrips(const op::GroupNormStats&) { return true; }
bool AcceptsDType(const op::GroupNormStats& op, int input_idx, DType dtype);
inline bool AcceptsRuns(const op::GroupNorm&, int input_idx) { return input_idx <= 0; }
inline int AliasOf(const op::GroupNorm&) { return 0; }
bool AcceptsDType(const op::GroupNorm& op, int input_idx, DType dtype);

}  // namespace ingot::cuda
