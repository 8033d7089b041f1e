// Matrix product in f32 by register tiles, compiled once per SIMD target.
//
// Every element of C is one chain of fused multiply-adds in the order of K, starting from the value
// that C holds. So its bits depend neither on tile, panel and block sizes nor on the target.
#include <algorithm>
#include <cstddef>
#include <cstring>

#include "devices/cpu/gemm.h"

#if defined(INGOT_DEVICES_CPU_GEMM_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef INGOT_DEVICES_CPU_GEMM_INL_H_
#undef INGOT_DEVICES_CPU_GEMM_INL_H_
#else
#define INGOT_DEVICES_CPU_GEMM_INL_H_
#endif

#include <hwy/highway.h>

HWY_BEFORE_NAMESPACE();
namespace ingot::cpu {
namespace HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;

// A tile of C is kTileRows x 2 vectors: with a row of B (2) and one element of A (1) they fill the
// 32 registers of AVX-512 or the 16 of AVX2.
inline constexpr size_t kLanes = HWY_MAX_BYTES / sizeof(float);
inline constexpr size_t kTileColumns = 2 * kLanes;
inline constexpr size_t kTileRows = kLanes == 16 ? kMaxTileRows : 6;
static_assert(kPanelColumns % kTileColumns == 0);

// Where a panel of `num_k` rows keeps column `column` of row 0; row k is k * kTileColumns behind.
inline size_t PanelOffset(size_t column, size_t num_k) {
  return column / kTileColumns * kTileColumns * num_k + column % kTileColumns;
}

// c [rows, columns] += a [kRows, num_k] * b [num_k, kTileColumns]; rows <= kRows.
template <size_t kRows>
void MultiplyTile(const float* HWY_RESTRICT a, const float* HWY_RESTRICT b, size_t num_k,
                  size_t rows, size_t columns, float* HWY_RESTRICT c, size_t c_stride) {
  const hn::CappedTag<float, kLanes> d;
  const auto mask0 = hn::FirstN(d, std::min(columns, kLanes));
  const auto mask1 = hn::FirstN(d, columns - std::min(columns, kLanes));
  hn::Vec<decltype(d)> sum0[kRows], sum1[kRows];
  HWY_UNROLL(kMaxTileRows)
  for (size_t r = 0; r < kRows; ++r) {
    sum0[r] = r < rows ? hn::MaskedLoad(mask0, d, c + r * c_stride) : hn::Zero(d);
    sum1[r] = r < rows ? hn::MaskedLoad(mask1, d, c + r * c_stride + kLanes) : hn::Zero(d);
  }
  for (size_t k = 0; k < num_k; ++k, b += kTileColumns) {
    const auto b0 = hn::Load(d, b);
    const auto b1 = hn::Load(d, b + kLanes);
    HWY_UNROLL(kMaxTileRows)
    for (size_t r = 0; r < kRows; ++r) {
      const auto a_rk = hn::Set(d, a[r * kTileStride + k]);
      sum0[r] = hn::MulAdd(a_rk, b0, sum0[r]);
      sum1[r] = hn::MulAdd(a_rk, b1, sum1[r]);
    }
  }
  HWY_UNROLL(kMaxTileRows)
  for (size_t r = 0; r < kRows; ++r) {
    if (r >= rows) break;
    hn::BlendedStore(sum0[r], mask0, d, c + r * c_stride);
    hn::BlendedStore(sum1[r], mask1, d, c + r * c_stride + kLanes);
  }
}

// c [num_rows, num_columns] += a [num_rows, num_k] * scratch.panel [num_k, num_columns];
// num_k <= kBlockK, num_columns <= kPanelColumns.
struct PanelProduct {
  const float* a;
  size_t a_stride;
  float* c;
  size_t c_stride;
  size_t num_rows, num_k, num_columns;
};

template <size_t kRows>
void MultiplyRows(const PanelProduct& p, size_t row, size_t rows, GemmScratch& scratch) {
  for (size_t r = 0; r < kRows; ++r) {
    float* tile_row = scratch.tile + r * kTileStride;
    if (r < rows) {
      std::memcpy(tile_row, p.a + (row + r) * p.a_stride, p.num_k * sizeof(float));
    } else {
      std::fill_n(tile_row, p.num_k, 0.0f);
    }
  }
  for (size_t column = 0; column < p.num_columns; column += kTileColumns) {
    MultiplyTile<kRows>(scratch.tile, scratch.panel + PanelOffset(column, p.num_k), p.num_k, rows,
                        std::min(kTileColumns, p.num_columns - column),
                        p.c + row * p.c_stride + column, p.c_stride);
  }
}

inline void MultiplyPanel(const PanelProduct& product, GemmScratch& scratch) {
  constexpr size_t kFewRows = 4;  // for a single row, and for what is left of many
  for (size_t row = 0; row < product.num_rows; row += kTileRows) {
    const size_t rows = std::min(kTileRows, product.num_rows - row);
    if (rows <= kFewRows) {
      MultiplyRows<kFewRows>(product, row, rows, scratch);
    } else {
      MultiplyRows<kTileRows>(product, row, rows, scratch);
    }
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace ingot::cpu
HWY_AFTER_NAMESPACE();

#endif  // INGOT_DEVICES_CPU_GEMM_INL_H_
