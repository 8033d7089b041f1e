// Ops on each element alone, in f32: memory-bound, shared among the threads in
// pieces of 16384 elements.
#pragma once

#include "base/thread_pool.h"
#include "devices/device.h"
#include "graph/op.h"

namespace ingot::cpu {

void Run(const op::Binary& op, const OpCall& call, ThreadPool& pool);

// All three kinds as x / (1 + exp(-z(x))): 0.5 (1 + tanh(u)) is sigmoid(2u).
void Run(const op::Unary& op, const OpCall& call, ThreadPool& pool);

void Run(const op::Affine& op, const OpCall& call, ThreadPool& pool);

}  // namespace ingot::cpu
