// Group norm of channels-last pictures, and its statistics alone.
#pragma once

#include <cstddef>
#include <cstdint>

#include "base/thread_pool.h"
#include "devices/device.h"
#include "graph/op.h"

namespace ingot::cpu {

// x in f32 or f16. Sums of a channel's distances from the row's first pixel, and of their squares:
// f32 over runs of 32 pixels of a row, then double, runs, channels of the group and rows in order.
// The workspace holds the sums of every row, so any cut into strips gives the same bits.
void Run(const op::GroupNormStats& op, const OpCall& call, ThreadPool& pool);
int64_t WorkspaceBytes(const op::GroupNormStats& op, const OpSignature& signature,
                       size_t num_threads);

// By these statistics, rounded to f32.
void Run(const op::GroupNorm& op, const OpCall& call, ThreadPool& pool);
int64_t WorkspaceBytes(const op::GroupNorm& op, const OpSignature& signature, size_t num_threads);

// Pictures whose pixels are further apart than their channels.
inline bool AcceptsRuns(const op::GroupNormStats&, int input_idx) { return input_idx == 0; }
inline bool AcceptsStrips(const op::GroupNormStats&) { return true; }
inline bool AcceptsRuns(const op::GroupNorm&, int input_idx) { return input_idx <= 0; }
inline int AliasOf(const op::GroupNorm&) { return 0; }

}  // namespace ingot::cpu
