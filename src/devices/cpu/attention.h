// Attention by blocks of query rows, all in f32.
#pragma once

#include <cstddef>
#include <cstdint>

#include "base/thread_pool.h"
#include "devices/device.h"
#include "graph/op.h"

namespace ingot::cpu {

// Each thread takes a block of 32 queries of one head at a time and keeps the
// scores of the block, [Lk, 32], in its part of the workspace.
//
// Queries lie in SIMD lanes and every sum over Dh or Lk runs in index order
// within its lane: the bits of a query row depend on neither the other rows
// nor the thread count nor the x86 level (promise P5).
void Run(const op::Attention& op, const OpCall& call, ThreadPool& pool);

int64_t WorkspaceBytes(const op::Attention& op, const OpSignature& signature, size_t num_threads);

}  // namespace ingot::cpu
