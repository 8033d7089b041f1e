#include "devices/cpu/attention_f32.h"

#include <algorithm>
#include <limits>

// Compiles the code below once per SIMD target.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "devices/cpu/attention_f32.cc"
#include <hwy/foreach_target.h>  // IWYU pragma: keep

#include "devices/cpu/simd-inl.h"
#include "devices/cpu/transpose-inl.h"

#ifndef INGOT_DEVICES_CPU_ATTENTION_F32_ONCE_
#define INGOT_DEVICES_CPU_ATTENTION_F32_ONCE_
namespace ingot::cpu {
namespace {

constexpr size_t kBlock = kF32QueryBlock;

// Terms of a sum taken in one go: 32 KiB of transposed queries or scores, and
// such a slice of V, are read from cache for all columns.
constexpr size_t kDepth = 256;

// A block of queries and its scratch.
struct QueryBlock : F32Queries {
  float* scores;   // [Lk, kBlock]
  float* columns;  // [Dh, kBlock]: the queries, then the output, transposed
};

}  // namespace
}  // namespace ingot::cpu
#endif  // INGOT_DEVICES_CPU_ATTENTION_F32_ONCE_

HWY_BEFORE_NAMESPACE();
namespace ingot::cpu {
namespace HWY_NAMESPACE {
namespace {

constexpr hn::ScalableTag<float> kTag;
using V = hn::Vec<decltype(kTag)>;

// Two vectors of queries times this many columns are the accumulators: 16 of
// 32 registers with AVX-512, 12 of 16 with AVX2.
constexpr size_t kColumns = hn::MaxLanes(kTag) == 16 ? 8 : 6;

// A matrix read one element at a time.
struct Elements {
  const float* data;
  size_t row_step, column_step;
};

// out[c, q] += sum over i < n of a[i, q] * b(i, c), for kCount columns c and two
// vectors of lanes q; `fresh` takes out as 0. a, out: rows of kBlock.
template <size_t kCount>
HWY_INLINE void MultiplyTile(const float* HWY_RESTRICT a, const Elements& b, size_t n, bool fresh,
                             float* HWY_RESTRICT out) {
  const size_t lanes = hn::Lanes(kTag);
  V sum0[kCount], sum1[kCount];
  for (size_t c = 0; c < kCount; ++c) {
    sum0[c] = fresh ? hn::Zero(kTag) : hn::Load(kTag, out + c * kBlock);
    sum1[c] = fresh ? hn::Zero(kTag) : hn::Load(kTag, out + c * kBlock + lanes);
  }
  const float* row = b.data;
  for (size_t i = 0; i < n; ++i, a += kBlock, row += b.row_step) {
    const V a0 = hn::Load(kTag, a);
    const V a1 = hn::Load(kTag, a + lanes);
    for (size_t c = 0; c < kCount; ++c) {
      const V element = hn::Set(kTag, row[c * b.column_step]);
      sum0[c] = hn::MulAdd(a0, element, sum0[c]);
      sum1[c] = hn::MulAdd(a1, element, sum1[c]);
    }
  }
  for (size_t c = 0; c < kCount; ++c) {
    hn::Store(sum0[c], kTag, out + c * kBlock);
    hn::Store(sum1[c], kTag, out + c * kBlock + lanes);
  }
}

// out[c, q] = sum over i < n of a[i, q] * b(i, c), for all columns and queries.
void Multiply(const float* a, const Elements& b, size_t n, size_t num_columns, float* out) {
  for (size_t i = 0; i < n; i += kDepth) {
    const auto tile = [&]<size_t kCount>(size_t c) {
      const Elements part = {b.data + i * b.row_step + c * b.column_step, b.row_step,
                             b.column_step};
      for (size_t q = 0; q < kBlock; q += 2 * hn::Lanes(kTag)) {
        MultiplyTile<kCount>(a + i * kBlock + q, part, std::min(kDepth, n - i), i == 0,
                             out + c * kBlock + q);
      }
    };
    size_t c = 0;
    for (; c + kColumns <= num_columns; c += kColumns) tile.template operator()<kColumns>(c);
    for (; c + 2 <= num_columns; c += 2) tile.template operator()<2>(c);
    for (; c < num_columns; ++c) tile.template operator()<1>(c);
  }
}

void LoadQueries(const QueryBlock& block) {
  const HeadRows& queries = block.queries;
  for (size_t q = 0; q < queries.count; ++q) {  // rows lie pages apart
    for (size_t d = 0; d < block.head_dim; d += 16) {
      __builtin_prefetch(queries.data + q * queries.stride + d);
    }
  }
  std::fill_n(block.columns, block.head_dim * kBlock, 0.0f);
  Transpose(queries.data, queries.stride, queries.count, block.head_dim, block.columns, kBlock);
  const V scale = hn::Set(kTag, block.scale);
  for (size_t i = 0; i < block.head_dim * kBlock; i += hn::Lanes(kTag)) {
    hn::Store(hn::Mul(hn::Load(kTag, block.columns + i), scale), kTag, block.columns + i);
  }
}

void AddBias(const QueryBlock& block, size_t num_keys) {
  constexpr size_t kTile = 16;  // keys whose scores stay in L1 for all queries
  for (size_t begin = 0; begin < num_keys; begin += kTile) {
    for (size_t q = 0; q < block.queries.count; ++q) {
      const float* bias = block.bias + q * block.keys.count;
      for (size_t j = begin; j < std::min(begin + kTile, num_keys); ++j) {
        block.scores[j * kBlock + q] += bias[j];
      }
    }
  }
}

// Query q sees the keys [0, first_query + q].
void HideLaterKeys(const QueryBlock& block, size_t num_keys) {
  for (size_t j = block.first_query + 1; j < num_keys; ++j) {
    std::fill_n(block.scores + j * kBlock, std::min(j - block.first_query, kBlock),
                -std::numeric_limits<float>::infinity());
  }
}

// Turns the scores at lanes [q, q + Lanes) into exp(score - max) and returns
// their sum. Four partial sums: one would wait on the latency of the additions.
V Exponentials(float* scores, size_t num_keys) {
  V max = hn::Load(kTag, scores);
  for (size_t j = 1; j < num_keys; ++j) max = hn::Max(max, hn::Load(kTag, scores + j * kBlock));
  V sums[4] = {hn::Zero(kTag), hn::Zero(kTag), hn::Zero(kTag), hn::Zero(kTag)};
  const auto step = [&](size_t j, V& sum) {
    const V p = Exp(kTag, hn::Sub(hn::Load(kTag, scores + j * kBlock), max));
    hn::Store(p, kTag, scores + j * kBlock);
    sum = hn::Add(sum, p);
  };
  size_t j = 0;
  for (; j + 4 <= num_keys; j += 4) {
    for (size_t i = 0; i < 4; ++i) step(j + i, sums[i]);
  }
  for (size_t i = 0; j < num_keys; ++j, ++i) step(j, sums[i]);
  return hn::Add(hn::Add(sums[0], sums[1]), hn::Add(sums[2], sums[3]));
}

void Attend(const QueryBlock& block) {
  const size_t dim = block.head_dim;
  const size_t num_keys = block.causal
                              ? std::min(block.keys.count, block.first_query + block.queries.count)
                              : block.keys.count;
  LoadQueries(block);
  Multiply(block.columns, {block.keys.data, 1, block.keys.stride}, dim, num_keys, block.scores);
  if (block.bias != nullptr) AddBias(block, num_keys);
  if (block.causal) HideLaterKeys(block, num_keys);
  alignas(64) float inv_sums[kBlock];
  for (size_t q = 0; q < kBlock; q += hn::Lanes(kTag)) {
    const V sum = Exponentials(block.scores + q, num_keys);
    hn::Store(hn::Div(hn::Set(kTag, 1.0f), sum), kTag, inv_sums + q);
  }
  Multiply(block.scores, {block.values.data, block.values.stride, 1}, num_keys, dim, block.columns);
  for (size_t i = 0; i < dim * kBlock; i += hn::Lanes(kTag)) {
    const V inv_sum = hn::Load(kTag, inv_sums + i % kBlock);
    hn::Store(hn::Mul(hn::Load(kTag, block.columns + i), inv_sum), kTag, block.columns + i);
  }
  // Four rows at a time: rows of the output lie pages apart, in one set of L1.
  for (size_t q = 0; q < block.queries.count; q += 4) {
    Transpose(block.columns + q, kBlock, dim, std::min<size_t>(4, block.queries.count - q),
              block.out + q * block.out_stride, block.out_stride);
  }
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace ingot::cpu
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace ingot::cpu {

HWY_EXPORT(Attend);

void AttendF32(const F32Queries& block, float* scratch) {
  HWY_DYNAMIC_DISPATCH(Attend)
  (QueryBlock{block, scratch, scratch + block.keys.count * kBlock});
}

}  // namespace ingot::cpu
#endif  // HWY_ONCE
