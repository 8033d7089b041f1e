// Reference kernels: plain loops that define what each op computes.
//
// Sums and functions are taken in double and rounded to f32 once, at the store.
// Shapes, types and attributes are those of graph/op.h; the caller has checked
// them (CpuDevice::Supports). The three kernels whose cost is cubic share their
// output rows among the pool's threads; no result depends on how.
#pragma once

#include <span>

#include "base/thread_pool.h"
#include "devices/device.h"
#include "graph/op.h"

namespace ingot::cpu::reference {

// linear.cc, conv.cc, attention.cc
void Run(const op::Linear& op, const OpCall& call, ThreadPool& pool);
void Run(const op::Conv2d& op, const OpCall& call, ThreadPool& pool);
void Run(const op::Attention& op, const OpCall& call, ThreadPool& pool);

// elementwise.cc
void Run(const op::Binary& op, const OpCall& call, ThreadPool& pool);
void Run(const op::Unary& op, const OpCall& call, ThreadPool& pool);
void Run(const op::Affine& op, const OpCall& call, ThreadPool& pool);
double GeluTanh(double x);

// norm.cc
void Run(const op::LayerNorm& op, const OpCall& call, ThreadPool& pool);
void Run(const op::RmsNorm& op, const OpCall& call, ThreadPool& pool);
void Run(const op::GroupNorm& op, const OpCall& call, ThreadPool& pool);
void Run(const op::GroupNormStats& op, const OpCall& call, ThreadPool& pool);
// x -> (x - mean) / sqrt(variance + eps).
void NormalizeRow(std::span<double> x, double eps);

// embedding.cc
void Run(const op::Embedding& op, const OpCall& call, ThreadPool& pool);
void Run(const op::TakeRow& op, const OpCall& call, ThreadPool& pool);

// position.cc
void Run(const op::TimestepEmbedding& op, const OpCall& call, ThreadPool& pool);
void Run(const op::RopeTable& op, const OpCall& call, ThreadPool& pool);
void Run(const op::Rope& op, const OpCall& call, ThreadPool& pool);
void Run(const op::RmsNormRope& op, const OpCall& call, ThreadPool& pool);
void Run(const op::RelativePositionBias& op, const OpCall& call, ThreadPool& pool);
// transformers T5Attention._relative_position_bucket, bidirectional.
int RelativePositionBucket(int64_t relative_position, int num_buckets, int max_distance);

// movement.cc
void Run(const op::Permute& op, const OpCall& call, ThreadPool& pool);
void Run(const op::Slice& op, const OpCall& call, ThreadPool& pool);
void Run(const op::Concat& op, const OpCall& call, ThreadPool& pool);
void Run(const op::UpsampleNearest2x& op, const OpCall& call, ThreadPool& pool);

}  // namespace ingot::cpu::reference
