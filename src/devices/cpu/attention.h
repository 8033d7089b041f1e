// Attention over tokens whose heads lie beside each other.
#pragma once

#include <cstddef>
#include <cstdint>

#include "base/thread_pool.h"
#include "devices/device.h"
#include "graph/op.h"

namespace ingot::cpu {

// In what a call is really computed: `op.compute`, but kF32 where the op is causal
// or Dh is above 512. A function of the op and its shapes, not of the rows of a call.
op::Compute ComputeOf(const op::Attention& op, const Shape& queries);

// q, k, v and the output contiguous or in runs of one token, H * Dh elements; the bias
// contiguous. A call may hold some of the queries of one picture, with all its keys;
// those of a causal op or of one with a bias are not cut. `scale` is above 0.
//
// kF32 is exact to f32 rounding (attention_f32.h). kI16 and kI8 are integer products
// (attention_int.h); relative RMS error for normal q, k, v with scores of standard
// deviation 1.0 / 2.5: kI16 6e-4 / 1.4e-3, kI8 1.4e-2 / 2.3e-2; attention on operands
// rounded to bf16 is off by 3.2e-3 / 5.1e-3.
//
// Keys and values are brought into the kernels' order once a call, in groups of heads.
void Run(const op::Attention& op, const OpCall& call, ThreadPool& pool);

// Packed keys and values of as many heads as fit in 16 MiB, at least one, and the scratch
// of each thread:
//   kI16, kI8   a head 4 * Lk * Dh bytes and some for scales, scratch 153 KiB + 576 * Dh
//   kF32        a head 8 * Lk * Dh, Dh in an odd number of cache lines (none where H is 1),
//               scratch 128 * (Lk + Dh)
int64_t WorkspaceBytes(const op::Attention& op, const OpSignature& signature, size_t num_threads);

inline bool AcceptsRuns(const op::Attention&, int input_idx) { return input_idx < 3; }

}  // namespace ingot::cpu
