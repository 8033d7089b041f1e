// Linear layers: prologue, product with the weight, epilogue, in what op.compute says.
#pragma once

#include <cstddef>
#include <cstdint>
#include <stop_token>

#include "base/thread_pool.h"
#include "devices/device.h"
#include "graph/op.h"

namespace ingot::cpu {

int64_t WorkspaceBytes(const op::Linear& op, const OpSignature& signature, size_t num_threads);

// The weight [N, K] may be of any type that IsWeightType and lie at any address; see linear_f32.h,
// linear_int16.h and linear_int8.h for what is computed. When `stop` was requested the output is
// undefined.
void Run(const op::Linear& op, const OpCall& call, ThreadPool& pool, std::stop_token stop);

// Runs are rows: of all operands but weight and bias.
bool AcceptsRuns(const op::Linear& op, int input_idx);
// The residual.
int AliasOf(const op::Linear& op);

}  // namespace ingot::cpu
