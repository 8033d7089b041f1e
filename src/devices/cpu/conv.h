// Convolutions in f32 as matrix products over tiles of output pixels.
#pragma once

#include <cstddef>
#include <cstdint>

#include "base/thread_pool.h"
#include "devices/device.h"
#include "graph/op.h"

namespace ingot::cpu {

// Independent of the picture's size: 0.2 MiB a thread.
int64_t WorkspaceBytes(const op::Conv2d& op, const OpSignature& signature, size_t num_threads);

// out[b, o, y, x] = bias[o] + sum_{c, i, j} weight[o, c, i, j] *
//                   x[b, c, y * stride + i - pad_top, x * stride + j - pad_left]
//
// x [B, C, h, w], weight [O, C, kh, kw], bias [O] or none, all f32; zero outside of x. Sums are
// f32, fused, in the order of (c, i, j); terms outside of x are added as zeros.
void Run(const op::Conv2d& op, const OpCall& call, ThreadPool& pool);

}  // namespace ingot::cpu
