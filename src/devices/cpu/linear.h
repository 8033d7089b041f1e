// Linear layers in f32, whatever type the weights have.
#pragma once

#include <cstddef>
#include <cstdint>

#include "base/thread_pool.h"
#include "devices/device.h"
#include "graph/op.h"

namespace ingot::cpu {

int64_t WorkspaceBytes(const op::Linear& op, const OpSignature& signature, size_t num_threads);

// out[m, n] = bias[n] + sum_k x[m, k] * weight[n, k] * weight.scale
//
// x [..., K] f32, weight [N, K] of any type that IsWeightType, bias [N] f32 or none. Weights are
// unpacked to f32 in panels, each once per call; sums are f32, fused, in the order of k.
void Run(const op::Linear& op, const OpCall& call, ThreadPool& pool);

inline bool AcceptsRuns(const op::Linear&, int) { return false; }
inline bool AcceptsStrips(const op::Linear&) { return false; }
inline int AliasOf(const op::Linear&) { return -1; }

}  // namespace ingot::cpu
