// Attention in integers: the scales of operands, and where a packed head and a thread's scratch
// have their numbers.
#pragma once

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <limits>

#include <hwy/base.h>

#include "devices/cpu/attention_int.h"
#include "graph/op.h"

namespace ingot::cpu {

inline constexpr size_t kKeyGroup = 64;      // keys of a tile of scores
inline constexpr size_t kChannelGroup = 64;  // channels of a tile of outputs
inline constexpr size_t kLine = 16;          // f32 or dwords of a cache line

// Below this a row counts as zeros: the inverse of its scale must be finite.
inline constexpr float kLeastAmax = 1e-30f;
inline constexpr float kLog2E = 1.44269504088896341f;
inline constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
inline constexpr float kInfinity = std::numeric_limits<float>::infinity();

// The largest integers of the operands; P is kept as P - p_center.
struct Levels {
  int qk, p, p_center, v;
};
constexpr Levels LevelsOf(op::Compute compute, size_t head_dim) {
  if (compute == op::Compute::kI8) return {127, 255, 0, 127};
  return {head_dim <= 128 ? 4095 : 2047, 8191, 4096, 2047};
}

// A scale and its inverse for values up to amax; amax as the bits of a float.
struct Scale {
  float scale, inverse;
};
inline Scale ScaleFor(int32_t amax_bits, int largest) {
  const float level = static_cast<float>(largest);
  const float amax = std::bit_cast<float>(amax_bits);
  if (!(amax < kInfinity)) return {kNan, 0.0f};
  if (amax < kLeastAmax) return {1.0f, 0.0f};
  return {amax / level, level / amax};
}

// Where the parts of a packed head are. The unit of keys and values is a dword:
// two int16 or four int8 that one instruction multiplies and adds up.
struct HeadLayout {
  HeadLayout(const PackedHead& head, size_t dword_elements)
      : dim(hwy::RoundUpTo(head.head_dim, kLine)),
        num_keys(hwy::RoundUpTo(head.num_keys, kKeyGroup)),
        num_blocks(hwy::DivCeil(head.num_keys, kKeyBlock)),
        dword_elements(dword_elements),
        keys(reinterpret_cast<int32_t*>(head.data)),
        values(keys + num_keys * dim / 2),
        key_scales(reinterpret_cast<float*>(values + num_keys * dim / 2)),
        key_shifts(key_scales + num_keys),
        key_starts(reinterpret_cast<int32_t*>(key_shifts + num_keys)),
        value_scales(reinterpret_cast<float*>(key_starts + num_keys)),
        value_shifts(value_scales + num_blocks * dim),
        taints(value_shifts + num_blocks * dim) {}

  // Keys of a block with its padding, [group of 64][depth in dwords][64].
  int32_t* BlockKeys(size_t block) const { return keys + block * kKeyBlock * dim / dword_elements; }
  // [group of 64 channels][keys in dwords][channels of the group].
  int32_t* BlockValues(size_t block) const {
    return values + block * kKeyBlock * dim / dword_elements;
  }
  size_t BlockSize(size_t block) const { return std::min(kKeyBlock, num_keys - block * kKeyBlock); }

  size_t dim, num_keys, num_blocks, dword_elements;
  int32_t* keys;
  int32_t* values;
  float* key_scales;    // score = product * scale + shift
  float* key_shifts;    // 0; -infinity for padding
  int32_t* key_starts;  // what the sums of products with bytes of q + 128 start from
  float* value_scales;  // [num_blocks, dim]: output = product * scale + shift
  float* value_shifts;  // what P - p_center lacks: p_center * (sum of the integers) * scale
  float* taints;        // [num_blocks]: NaN if a key of the block is not finite, else 0
};

// Working memory of one thread.
struct IntScratch {
  IntScratch(std::byte* data, size_t head_dim)
      : scores(reinterpret_cast<float*>(data)),
        weights(reinterpret_cast<int32_t*>(scores + kQueryBlock * kKeyBlock)),
        sums(reinterpret_cast<float*>(weights + kQueryBlock * kKeyBlock / 2)),
        queries(reinterpret_cast<int32_t*>(sums + kQueryBlock * hwy::RoundUpTo(head_dim, kLine))),
        lane_maxima(
            reinterpret_cast<float*>(queries + kQueryBlock * hwy::RoundUpTo(head_dim, kLine) / 2)),
        rows(lane_maxima + kQueryBlock * kLine) {}

  static constexpr size_t kRowArrays = 7;
  float* query_scales() const { return rows; }
  float* block_max() const { return rows + kQueryBlock; }
  float* running_max() const { return rows + 2 * kQueryBlock; }
  float* running_sum() const { return rows + 3 * kQueryBlock; }
  float* old_factor() const { return rows + 4 * kQueryBlock; }
  float* new_factor() const { return rows + 5 * kQueryBlock; }
  float* block_sum() const { return rows + 6 * kQueryBlock; }

  float* scores;     // [group of 64 keys][kQueryBlock][64]
  int32_t* weights;  // P, [kQueryBlock][kKeyBlock in dwords]
  float* sums;       // P v, [kQueryBlock][dim]
  int32_t* queries;  // [tile][depth in dwords][rows of a tile]
  float* lane_maxima;
  float* rows;
};

}  // namespace ingot::cpu
