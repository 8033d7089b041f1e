// Attention of one head by blocks of query rows, all in f32.
#pragma once

#include <cstddef>

#include "devices/cpu/attention_head.h"

namespace ingot::cpu {

// Queries of a block: two zmm or four ymm. Twice as many would halve the reads
// of K and V, but the scores would leave L2 beyond 4096 keys.
inline constexpr size_t kF32QueryBlock = 32;

// At most kF32QueryBlock queries of one head against its keys.
//
// Queries lie in SIMD lanes and every sum over Dh or Lk runs in index order within
// its lane: the bits of a query row depend on neither the other rows nor the thread
// count nor the x86 level (promise P5).
struct F32Queries {
  HeadRows queries, keys, values;
  size_t head_dim;
  float scale;
  const float* bias;  // [queries.count, keys.count]; null for none
  bool causal;
  size_t first_query;  // of the block, in its head
  float* out;
  size_t out_stride;
};
void AttendF32(const F32Queries& block, float* scratch);

// The scores of the block, [Lk, 32], then its queries and outputs, [Dh, 32].
constexpr size_t F32ScratchElements(size_t num_keys, size_t head_dim) {
  return (num_keys + head_dim) * kF32QueryBlock;
}

}  // namespace ingot::cpu
