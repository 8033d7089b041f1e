// Normalizations in f32.
//
// A sum runs in 64 virtual lanes (element i in lane i % 64), which a fixed tree
// adds up: the same bits at any vector length and thread count (promise P5).
// Variances are taken around the mean, in a second pass over cached elements.
#pragma once

#include "base/thread_pool.h"
#include "devices/device.h"
#include "graph/op.h"

namespace ingot::cpu {

void Run(const op::LayerNorm& op, const OpCall& call, ThreadPool& pool);
void Run(const op::RmsNorm& op, const OpCall& call, ThreadPool& pool);

}  // namespace ingot::cpu
