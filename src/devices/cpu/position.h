// Rotary turns and T5's position bias. The tables they start from are made once
// a picture, by the reference kernels.
#pragma once

#include "base/thread_pool.h"
#include "devices/device.h"
#include "graph/op.h"

namespace ingot::cpu {

void Run(const op::Rope& op, const OpCall& call, ThreadPool& pool);

// Element [i, j] of a head is element [i-1, j-1]: only the first row and column
// look up a bucket.
void Run(const op::RelativePositionBias& op, const OpCall& call, ThreadPool& pool);

}  // namespace ingot::cpu
