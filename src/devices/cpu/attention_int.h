// Attention of one head in integers: keys and values packed once, then blocks of
// queries against them by an online softmax.
//
// Every operand is rounded to the nearest integers under an f32 scale:
//
//            q, k                        P           v
//   kI16     13 bits (12: Dh > 128)      13 bits     12 bits
//   kI8       8 bits                      8 bits      8 bits
//
// q has a scale per token, k one per key, v one per channel and block of 256 keys;
// P = 2^(score - the block's largest) of a query is in units of 1/8191 (1/255). The
// sums of products are exact in int32: q and k are in +-4095 (128 of them) or +-2047
// (512), v in +-2047 and P - 4096 in +-4096 (256). Blocks of keys join in f32, in order.
//
// A query's bits depend on its row and on the keys and values alone, and what is
// packed of a block of keys depends on that block alone (promise P5). An infinity or
// NaN becomes NaN: one in a query its output, one in a key all outputs of the head,
// one in a value those of its channel. Rows whose largest element is below 1e-30
// count as zeros.
#pragma once

#include <cstddef>
#include <cstdint>

#include "devices/cpu/attention_head.h"
#include "graph/op.h"

namespace ingot::cpu {

// Keys under one maximum, and one scale of v. 512 would cost P a bit.
inline constexpr size_t kKeyBlock = 256;

// Queries that share a walk over the keys: 7 % faster than 48 where the packed keys leave L3
// (16384 keys, Dh 512, Zen 5), no different elsewhere.
inline constexpr size_t kQueryBlock = 96;

inline constexpr size_t kMaxIntHeadDim = 512;

// Keys and values of one head as integers. Sized for int16 in both computes: levels
// without VNNI keep bytes as int16.
struct PackedHead {
  std::byte* data;
  size_t num_keys, head_dim;

  // 4 bytes for each element of a key (values included), with Dh in multiples of 16
  // and keys in multiples of 64; 12 bytes a key and 8 * Dh a block for scales.
  static size_t NumBytes(size_t num_keys, size_t head_dim);
};

// Scratch of one thread; 64-byte aligned.
size_t IntScratchBytes(size_t head_dim);

// Packs the keys [block * kKeyBlock, ...) of a head, and their values.
void PackKeyBlock(op::Compute compute, const PackedHead& head, const HeadRows& keys,
                  const HeadRows& values, size_t block, std::byte* scratch);

// At most kQueryBlock queries of one head.
struct IntQueries {
  HeadRows queries;
  float scale;        // of q k^T, above 0
  const float* bias;  // [queries.count, num_keys]; null for none
  float* out;
  size_t out_stride;
};
void AttendInt(op::Compute compute, const IntQueries& block, const PackedHead& head,
               std::byte* scratch);

}  // namespace ingot::cpu
