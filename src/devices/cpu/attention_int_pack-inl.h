// The operands of attention in integers: keys, values and queries as the products take them.
#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "devices/cpu/attention_int_layout.h"
#include "devices/cpu/dot_products-inl.h"
#include "devices/cpu/simd-inl.h"
#include "devices/cpu/transpose-inl.h"
#include "devices/cpu/unroll-inl.h"

// Read once per target of hwy/foreach_target.h, hence this toggle instead of #pragma once.
#if defined(INGOT_DEVICES_CPU_ATTENTION_INT_PACK_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef INGOT_DEVICES_CPU_ATTENTION_INT_PACK_INL_H_
#undef INGOT_DEVICES_CPU_ATTENTION_INT_PACK_INL_H_
#else
#define INGOT_DEVICES_CPU_ATTENTION_INT_PACK_INL_H_
#endif

HWY_BEFORE_NAMESPACE();
namespace ingot::cpu {
namespace HWY_NAMESPACE {
namespace {

constexpr hn::ScalableTag<float> kF;
constexpr hn::ScalableTag<int32_t> kI;
using VF = hn::Vec<decltype(kF)>;
using VI = hn::Vec<decltype(kI)>;
constexpr size_t kLanes = hn::MaxLanes(kF);

// Accumulators of a tile: 24 of 32 registers, or 8 of 16.
constexpr size_t kTileRows = kLanes == 16 ? 6 : 4;
constexpr size_t kTileVectors = kLanes == 16 ? 4 : 2;
static_assert(kQueryBlock % kTileRows == 0 && kQueryBlock % kLanes == 0);

// To nearest, ties to even; below 2^31.
HWY_INLINE VI ToInt(VF x) {
#if HWY_TARGET <= HWY_AVX3
  return VI{_mm512_cvtps_epi32(x.raw)};
#else
  return VI{_mm256_cvtps_epi32(x.raw)};
#endif
}

// Bits of |x|: they order like the numbers, with NaN above infinity.
HWY_INLINE VI MagnitudeBits(VF x) { return hn::And(hn::BitCast(kI, x), hn::Set(kI, 0x7FFFFFFF)); }

// Lanes [i, i + kLanes) of a row of n elements, zeros behind its end.
HWY_INLINE VF LoadRow(const float* row, size_t i, size_t n) {
  if (i + kLanes <= n) return hn::LoadU(kF, row + i);
  return i < n ? LoadFirst(kF, row + i, n - i) : hn::Zero(kF);
}

// Rows of a head lie pages apart, where the hardware does not look ahead: without this
// packing waits on memory (10 % of attention over 1280 tokens on Zen 5).
constexpr size_t kRowsAhead = 12;
HWY_INLINE void PrefetchRow(const HeadRows& rows, size_t row, size_t n) {
  if (row >= rows.count) return;
  for (size_t i = 0; i < n; i += kLine) __builtin_prefetch(rows.data + row * rows.stride + i);
}

int32_t LargestMagnitudeBits(const float* row, size_t n) {
  VI largest = hn::Zero(kI);
  for (size_t i = 0; i < n; i += kLanes) {
    largest = hn::Max(largest, MagnitudeBits(LoadRow(row, i, n)));
  }
  return hn::GetLane(hn::MaxOfLanes(kI, largest));
}

// Writes round(row * inverse) + offset for `padded` elements and returns the sum.
template <class T>
int32_t Quantize(const float* row, size_t n, size_t padded, float inverse, int32_t offset, T* out) {
  const hn::Rebind<T, decltype(kF)> narrow;
  VI sum = hn::Zero(kI);
  for (size_t i = 0; i < padded; i += kLanes) {
    const VI x = ToInt(hn::Mul(LoadRow(row, i, n), hn::Set(kF, inverse)));
    sum = hn::Add(sum, x);
    hn::StoreU(hn::DemoteTo(narrow, hn::Add(x, hn::Set(kI, offset))), narrow, out + i);
  }
  return hn::GetLane(hn::SumOfLanes(kI, sum));
}

template <class Kept>
void PackKeys(const HeadLayout& to, const HeadRows& keys, size_t head_dim, int largest,
              size_t block, std::byte* scratch) {
  using Key = typename Kept::Right;
  constexpr size_t kRows = 16;
  const size_t depth = to.dim / Kept::kPerDword;
  int32_t* rows = reinterpret_cast<int32_t*>(scratch);  // [kRows][depth]
  const size_t begin = block * kKeyBlock, size = to.BlockSize(block);
  float taint = 0.0f;
  for (size_t first = 0; first < size; first += kRows) {
    for (size_t i = 0; i < kRows; ++i) {
      const size_t key = begin + first + i;
      to.key_starts[key] = 0;
      if (key >= keys.count) {
        std::fill_n(rows + i * depth, depth, 0);
        to.key_scales[key] = 0.0f;
        to.key_shifts[key] = -kInfinity;
        continue;
      }
      PrefetchRow(keys, key + kRowsAhead, head_dim);
      const float* row = keys.data + key * keys.stride;
      const Scale scale = ScaleFor(LargestMagnitudeBits(row, head_dim), largest);
      const int32_t sum = Quantize(row, head_dim, to.dim, scale.inverse, 0,
                                   reinterpret_cast<Key*>(rows + i * depth));
      // In 64 bits: of a key that is not finite the sum is anything.
      if (Kept::kPerDword == 4) to.key_starts[key] = static_cast<int32_t>(-128 * int64_t{sum});
      to.key_scales[key] = scale.scale;
      to.key_shifts[key] = 0.0f;
      if (scale.scale != scale.scale) taint = kNan;
    }
    int32_t* group = to.BlockKeys(block) + first / kKeyGroup * kKeyGroup * depth;
    Transpose(rows, depth, kRows, depth, group + first % kKeyGroup, kKeyGroup);
  }
  to.taints[block] = taint;
}

// A dword holds the keys i, 16 + i (, 32 + i, 48 + i) of its 32 (64): vectors of P
// then combine by shifts at every vector length.
template <class Kept>
HWY_INLINE VI Combine(const VI (&x)[Kept::kPerDword]) {
  constexpr int kBits = 32 / Kept::kPerDword;
  VI dwords = x[0];
  Unroll<Kept::kPerDword - 1>([&](auto i) INGOT_UNROLLED {
    constexpr int kShift = kBits * (i + 1);
    dwords = hn::Or(dwords, hn::ShiftLeft<kShift>(x[i + 1]));
  });
  return dwords;
}

template <class Kept>
void PackValues(const HeadLayout& to, const HeadRows& values, size_t head_dim, const Levels& levels,
                size_t block, std::byte* scratch) {
  constexpr size_t kGroup = kLine * Kept::kPerDword;
  const size_t begin = block * kKeyBlock, size = to.BlockSize(block);
  const size_t count = std::min(size, values.count - begin);
  const float* data = values.data + begin * values.stride;
  int32_t* amax = reinterpret_cast<int32_t*>(scratch);
  float* inverses = reinterpret_cast<float*>(amax) + to.dim;
  int32_t* sums = reinterpret_cast<int32_t*>(inverses) + to.dim;
  std::fill_n(amax, to.dim, 0);
  std::fill_n(sums, to.dim, 0);
  for (size_t key = 0; key < count; ++key) {
    PrefetchRow(values, begin + key + kRowsAhead, head_dim);
    for (size_t c = 0; c < to.dim; c += kLanes) {
      const VI bits = MagnitudeBits(LoadRow(data + key * values.stride, c, head_dim));
      hn::Store(hn::Max(hn::Load(kI, amax + c), bits), kI, amax + c);
    }
  }
  for (size_t c = 0; c < to.dim; ++c) {
    const Scale scale = ScaleFor(amax[c], levels.v);
    to.value_scales[block * to.dim + c] = scale.scale;
    inverses[c] = scale.inverse;
  }
  const VI mask = hn::Set(kI, Kept::kPerDword == 4 ? 0xFF : 0xFFFF);
  for (size_t dword = 0; dword < size / Kept::kPerDword; ++dword) {
    const size_t key = dword / kLine * kGroup + dword % kLine;
    for (size_t c = 0; c < to.dim; c += kLanes) {
      VI x[Kept::kPerDword];
      VI sum = hn::Load(kI, sums + c);
      Unroll<Kept::kPerDword>([&](auto i) INGOT_UNROLLED {
        const size_t row = key + i * kLine;
        const VF v = row < count ? LoadRow(data + row * values.stride, c, head_dim) : hn::Zero(kF);
        x[i] = ToInt(hn::Mul(v, hn::Load(kF, inverses + c)));
        sum = hn::Add(sum, x[i]);
        x[i] = hn::And(x[i], mask);
      });
      hn::Store(sum, kI, sums + c);
      const size_t first = c / kChannelGroup * kChannelGroup;  // of the channels' group
      int32_t* group = to.BlockValues(block) + first * size / Kept::kPerDword;
      hn::Store(Combine<Kept>(x), kI,
                group + dword * std::min(kChannelGroup, to.dim - first) + c - first);
    }
  }
  for (size_t c = 0; c < to.dim; ++c) {
    to.value_shifts[block * to.dim + c] = static_cast<float>(levels.p_center) *
                                          static_cast<float>(sums[c]) *
                                          to.value_scales[block * to.dim + c];
  }
}

template <class Kept>
void PackQueries(const IntQueries& block, size_t head_dim, size_t dim, int largest,
                 const IntScratch& scratch) {
  using Query = typename Kept::Left;
  constexpr int32_t kOffset = Kept::kPerDword == 4 ? 128 : 0;
  const size_t depth = dim / Kept::kPerDword;
  alignas(64) int32_t row[kMaxIntHeadDim / 2];
  for (size_t i = 0; i < kRowsAhead; ++i) PrefetchRow(block.queries, i, head_dim);
  for (size_t i = 0; i < kQueryBlock; ++i) {
    scratch.query_scales()[i] = 1.0f;
    if (i < block.queries.count) {
      PrefetchRow(block.queries, i + kRowsAhead, head_dim);
      const float* x = block.queries.data + i * block.queries.stride;
      const Scale scale = ScaleFor(LargestMagnitudeBits(x, head_dim), largest);
      Quantize(x, head_dim, dim, scale.inverse, kOffset, reinterpret_cast<Query*>(row));
      scratch.query_scales()[i] = scale.scale * (block.scale * kLog2E);
    } else {
      std::fill_n(row, depth, 0);  // no output is stored
    }
    int32_t* to = scratch.queries + i / kTileRows * kTileRows * depth + i % kTileRows;
    for (size_t d = 0; d < depth; ++d) to[d * kTileRows] = row[d];
  }
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace ingot::cpu
HWY_AFTER_NAMESPACE();

#endif  // INGOT_DEVICES_CPU_ATTENTION_INT_PACK_INL_H_
