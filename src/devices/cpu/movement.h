// Ops that move elements and compute none, shared among the threads in pieces
// of about 16384 elements. The results are the reference's.
#pragma once

#include "base/thread_pool.h"
#include "devices/device.h"
#include "graph/op.h"

namespace ingot::cpu {

void Run(const op::Permute& op, const OpCall& call, ThreadPool& pool);
void Run(const op::Slice& op, const OpCall& call, ThreadPool& pool);
void Run(const op::Concat& op, const OpCall& call, ThreadPool& pool);
void Run(const op::Embedding& op, const OpCall& call, ThreadPool& pool);
void Run(const op::UpsampleNearest2x& op, const OpCall& call, ThreadPool& pool);

}  // namespace ingot::cpu
