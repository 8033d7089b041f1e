// Ops that move elements and compute none.
#pragma once

#include "devices/cuda/context.h"
#include "devices/op_call.h"
#include "graph/op.h"

namespace ingot::cuda {

void Run(const op::Permute& op, const OpCall& call, const Context& context);
void Run(const op::Slice& op, const OpCall& call, const Context& context);
void Run(const op::Concat& op, const OpCall& call, const Context& context);
void Run(const op::UpsampleNearest2x& op, const OpCall& call, const Context& context);
// The table in any type that IsWeightType. A row of an index that is none is NaN, which ends the
// job with its phase named.
void Run(const op::Embedding& op, const OpCall& call, const Context& context);
void Run(const op::TakeRow& op, const OpCall& call, const Context& context);

bool AcceptsDType(const op::Embedding& op, int input_idx, DType dtype);
bool AcceptsDType(const op::TakeRow& op, int input_idx, DType dtype);

}  // namespace ingot::cuda
