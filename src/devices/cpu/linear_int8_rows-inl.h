// The rows of x for a Linear in 8 bits: which channels are outliers, and all others as bytes.
#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <utility>

#include "devices/cpu/linear_int8_job.h"
#include "devices/cpu/linear_rows-inl.h"
#include "devices/cpu/simd-inl.h"
#include "devices/cpu/unroll-inl.h"

// Read once per target of hwy/foreach_target.h, hence this toggle instead of #pragma once.
#if defined(INGOT_DEVICES_CPU_LINEAR_INT8_ROWS_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef INGOT_DEVICES_CPU_LINEAR_INT8_ROWS_INL_H_
#undef INGOT_DEVICES_CPU_LINEAR_INT8_ROWS_INL_H_
#else
#define INGOT_DEVICES_CPU_LINEAR_INT8_ROWS_INL_H_
#endif

HWY_BEFORE_NAMESPACE();
namespace ingot::cpu {
namespace HWY_NAMESPACE {
namespace {

using DF = hn::ScalableTag<float>;
using DI32 = hn::ScalableTag<int32_t>;
using DU32 = hn::ScalableTag<uint32_t>;
constexpr size_t kLanes = HWY_MAX_BYTES / sizeof(float);

RowNorm NormAt(const Int8Job& job, size_t row) {
  return {job.norms[2 * row], job.norms[2 * row + 1]};
}

// Statistics of kQuantizeRows rows that their elements need.
void TakeNorms(const Int8Job& job, size_t item) {
  const size_t end = std::min((item + 1) * kQuantizeRows, job.layout.num_rows);
  for (size_t row = item * kQuantizeRows; row < end; ++row) {
    const RowNorm norm = NormOfRow(job.call, row);
    job.norms[2 * row] = norm.mean;
    job.norms[2 * row + 1] = norm.inv_std;
  }
}

// maxima[i] = max over rows of the bits of |rows[r][i]|: NaN and infinity are the largest.
template <size_t kRows>
HWY_INLINE void RaiseMaxima(const float* const* rows, size_t n, int32_t* HWY_RESTRICT maxima) {
  const DF d;
  const DI32 di;
  const auto raise = [&](auto max, const auto& load) INGOT_UNROLLED {
    for (size_t r = 0; r < kRows; ++r) max = hn::Max(max, hn::BitCast(di, hn::Abs(load(rows[r]))));
    return max;
  };
  size_t i = 0;
  for (; i + kLanes <= n; i += kLanes) {
    hn::StoreU(raise(hn::LoadU(di, maxima + i),
                     [&](const float* row) INGOT_UNROLLED { return hn::LoadU(d, row + i); }),
               di, maxima + i);
  }
  if (i == n) return;
  hn::StoreU(raise(hn::LoadU(di, maxima + i),
                   [&](const float* row) INGOT_UNROLLED { return LoadFirst(d, row + i, n - i); }),
             di, maxima + i);
}

// One group's largest magnitudes of kSliceK channels.
void FindMaxima(const Int8Job& job, size_t item) {
  constexpr size_t kRows = 4;
  alignas(64) float buffers[kRows][kSliceK];
  const size_t num_slices = hwy::DivCeil(job.layout.num_k, kSliceK);
  const size_t idx = item / num_slices, k = item % num_slices * kSliceK;
  const size_t n = std::min(kSliceK, job.layout.num_k - k);
  const RowGroup group = job.layout.group(job.batch_begin + idx);
  int32_t* maxima = job.maxima + idx * job.layout.padded_k + k;
  std::fill_n(maxima, hwy::RoundUpTo(n, kWidthGrid), 0);
  const float* rows[kRows];
  const auto make_row = [&](size_t r, size_t row) {
    rows[r] = BoundRow(job.call, row, NormAt(job, row), k, n, buffers[r]);
  };
  size_t row = group.begin;
  for (; row + kRows <= group.begin + group.count; row += kRows) {
    for (size_t r = 0; r < kRows; ++r) make_row(r, row + r);
    RaiseMaxima<kRows>(rows, n, maxima);
  }
  for (; row < group.begin + group.count; ++row) {
    make_row(0, row);
    RaiseMaxima<1>(rows, n, maxima);
  }
}

// ---- Quantizing

// `width` values to bytes q + 128; their scale.
HWY_INLINE float QuantizeBlock(const float* HWY_RESTRICT values, size_t width,
                               uint8_t* HWY_RESTRICT out) {
  const DF d;
  const DI32 di;
  const hn::Rebind<uint8_t, DF> du8;
  auto max0 = hn::Zero(di), max1 = hn::Zero(di);
  for (size_t i = 0; i < width; i += 2 * kLanes) {
    max0 = hn::Max(max0, hn::BitCast(di, hn::Abs(hn::LoadU(d, values + i))));
    max1 = hn::Max(max1, hn::BitCast(di, hn::Abs(hn::LoadU(d, values + i + kLanes))));
  }
  const float max = std::bit_cast<float>(hn::GetLane(hn::MaxOfLanes(di, hn::Max(max0, max1))));
  const bool finite = max <= std::numeric_limits<float>::max();
  const bool counts = finite && max >= kLeastMax;
  // Added to 1.5 * 2^23 + 128, a number is rounded to an integer that stands in the low bits.
  const auto factor = hn::Set(d, counts ? 127.0f / max : 0.0f);
  const auto magic = hn::Set(d, kMagic + 128.0f);
  for (size_t i = 0; i < width; i += kLanes) {
    const auto sum = hn::MulAdd(hn::LoadU(d, values + i), factor, magic);
    // Not TruncateTo: that of Highway 1.0.3 is wrong on AVX3_DL.
    const auto low = hn::And(hn::BitCast(di, sum), hn::Set(di, 255));
    hn::StoreU(hn::DemoteTo(du8, low), du8, out + i);
  }
  if (!finite) return std::numeric_limits<float>::quiet_NaN();
  return counts ? max * (1.0f / 127.0f) : 0.0f;
}

void QuantizeRow(const Int8Job& job, const Outliers& outliers, size_t row) {
  alignas(64) float buffer[kScaleK];
  alignas(64) float lanes[kMaxOutliers] = {};
  const RowNorm norm = NormAt(job, row);
  size_t outlier = 0;
  for (size_t block = 0; block < job.layout.num_blocks; ++block) {
    const size_t k = block * kScaleK, width = job.layout.width(block);
    const size_t n = std::min(width, job.layout.num_k - k);
    const float* values = MakeRow(job.call, row, norm, k, n, buffer);
    // What is read two blocks later, and what the next row writes: the slab is far larger than L2.
    uint8_t* bytes = job.SlabRow(block, row);
    for (size_t i = 0; i < width; i += 16) __builtin_prefetch(values + 2 * kScaleK + i);
    for (size_t i = 0; i < width; i += 64) __builtin_prefetch(bytes + width + i, 1);
    const bool has_outliers = outlier < outliers.count && outliers.channels[outlier] < k + kScaleK;
    if (has_outliers || n != width) {
      if (values != buffer) std::copy_n(values, n, buffer);
      std::fill(buffer + n, buffer + width, 0.0f);
      values = buffer;
    }
    for (; outlier < outliers.count && outliers.channels[outlier] < k + kScaleK; ++outlier) {
      float& value = buffer[outliers.channels[outlier] - k];
      lanes[outlier] = std::exchange(value, 0.0f);
    }
    *job.RowScale(block, row) = QuantizeBlock(values, width, bytes);
  }
  if (outliers.count == 0) return;
  const size_t block = job.layout.num_blocks;
  *job.RowScale(block, row) = QuantizeBlock(lanes, kMaxOutliers, job.SlabRow(block, row));
}

// kQuantizeRows rows of a group of the batch.
void QuantizeRows(const Int8Job& job, size_t item) {
  constexpr size_t kItems = kRowGrid / kQuantizeRows;
  const size_t idx = job.batch_begin + item / kItems;
  const RowGroup group = job.layout.group(idx);
  const size_t begin = item % kItems * kQuantizeRows;
  const size_t end = std::min(begin + kQuantizeRows, group.count);
  for (size_t row = begin; row < end; ++row) {
    QuantizeRow(job, job.outliers[idx], group.begin + row);
  }
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace ingot::cpu
HWY_AFTER_NAMESPACE();

#endif  // INGOT_DEVICES_CPU_LINEAR_INT8_ROWS_INL_H_
