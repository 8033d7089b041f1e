// The matrix products of a convolution, in f32 or in int16 with exact sums, compiled once per SIMD
// target.
//
// Both sides are 32-bit words: a float, or the int16 of two neighbouring channels. Rows of the left
// side (tiles of the picture) lie in blocks of kBlockRows, whose lines of 16 words take turns:
// [block][line][row][16]. The right side (filters) is a panel of kPanel columns, [word][kPanel].
//
// int16: a row of up to 640 channels is scaled to the 2-norm 32000 (rows) or 65000 (columns) before
// it is rounded. Rounding adds at most sqrt(640)/2 = 13 to a norm, so by Cauchy-Schwarz every
// partial sum is below 32013 * 65013 < 2^31 whatever the data: sums never overflow. A row with a
// NaN or an infinity gets the scale NaN, and so does all that is computed from it.
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <type_traits>

#include "devices/cpu/dot_products-inl.h"

#if defined(INGOT_DEVICES_CPU_CONV_PRODUCT_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef INGOT_DEVICES_CPU_CONV_PRODUCT_INL_H_
#undef INGOT_DEVICES_CPU_CONV_PRODUCT_INL_H_
#else
#define INGOT_DEVICES_CPU_CONV_PRODUCT_INL_H_
#endif

#include <hwy/highway.h>

HWY_BEFORE_NAMESPACE();
namespace ingot::cpu {
namespace HWY_NAMESPACE {
namespace {

namespace hn = hwy::HWY_NAMESPACE;

constexpr hn::ScalableTag<float> kF;
constexpr hn::ScalableTag<int32_t> kI;
constexpr hn::ScalableTag<int16_t> kI16;
using VF = hn::Vec<decltype(kF)>;
using VI = hn::Vec<decltype(kI)>;

constexpr size_t kLanes = hn::MaxLanes(kF);
constexpr size_t kLineWords = 16;  // a cache line
constexpr size_t kBlockRows = 8;
// 8 rows x 2 zmm or 1 ymm of sums: the sums, a panel's line and the products fit the registers.
constexpr size_t kPanelVectors = kLanes == 16 ? 2 : 1;
constexpr size_t kPanel = kPanelVectors * kLanes;

constexpr float kRowNorm = 32000.0f, kColumnNorm = 65000.0f, kLargestInt16 = 32700.0f;
constexpr float kTiny = 1e-20f;  // keeps the scale of a row of zeros finite
// Added to a number below 2^22 it leaves the number, rounded to nearest even, in the low bits.
constexpr float kRounder = 0x1.8p23f;

// In words.
HWY_INLINE size_t RowOffset(size_t row, size_t num_words) {
  return row / kBlockRows * kBlockRows * num_words + row % kBlockRows * kLineWords;
}

// One block of rows by one panel.
struct BlockProduct {
  const int32_t* rows;
  const int32_t* panel;
  size_t num_lines;
  const float* row_scales;     // int16 only
  const float* column_scales;  // int16 only
  float* sums;                 // [kBlockRows] of [kPanel]
  size_t sums_stride;
  bool continues;  // adds to `sums`
};

// Out of line: inlined, g++ 12 spills the sums.
template <class Element>
HWY_NOINLINE void Multiply(const BlockProduct& p) {
  constexpr bool kIsInt = std::is_same_v<Element, int16_t>;
  using V = std::conditional_t<kIsInt, VI, VF>;
  // Copies: a store to `sums` could change what `p` holds.
  const int32_t* HWY_RESTRICT rows = p.rows;
  const int32_t* HWY_RESTRICT panel = p.panel;
  float* HWY_RESTRICT sums = p.sums;
  const float* row_scales = p.row_scales;
  const size_t stride = p.sums_stride, num_lines = p.num_lines;
  const bool continues = p.continues;

  V sums0[kBlockRows], sums1[kBlockRows];
  HWY_UNROLL(8)
  for (size_t r = 0; r < kBlockRows; ++r) {
    if constexpr (kIsInt) {
      sums0[r] = sums1[r] = hn::Zero(kI);
    } else {  // one chain over all of K
      sums0[r] = continues ? hn::Load(kF, sums + r * stride) : hn::Zero(kF);
      sums1[r] = continues ? hn::Load(kF, sums + r * stride + kPanel - kLanes) : hn::Zero(kF);
    }
  }
  for (size_t line = 0; line < num_lines; ++line, rows += kBlockRows * kLineWords) {
    HWY_UNROLL(4)
    for (size_t word = 0; word < kLineWords; ++word, panel += kPanel) {
      const VI b0 = hn::Load(kI, panel);
      const VI b1 = hn::Load(kI, panel + kPanel - kLanes);
      HWY_UNROLL(8)
      for (size_t r = 0; r < kBlockRows; ++r) {
        const VI a = hn::Set(kI, rows[r * kLineWords + word]);
        if constexpr (kIsInt) {
          Words::AddProducts(sums0[r], a, b0);
          if constexpr (kPanelVectors == 2) Words::AddProducts(sums1[r], a, b1);
        } else {
          sums0[r] = hn::MulAdd(hn::BitCast(kF, a), hn::BitCast(kF, b0), sums0[r]);
          if constexpr (kPanelVectors == 2) {
            sums1[r] = hn::MulAdd(hn::BitCast(kF, a), hn::BitCast(kF, b1), sums1[r]);
          }
        }
      }
    }
  }
  const auto store = [&](V sum, size_t r, VF column_scale, float* to) {
    if constexpr (kIsInt) {
      const VF scale = hn::Mul(hn::Set(kF, row_scales[r]), column_scale);
      const VF product = hn::Mul(hn::ConvertTo(kF, sum), scale);
      hn::Store(continues ? hn::Add(hn::Load(kF, to), product) : product, kF, to);
    } else {
      hn::Store(sum, kF, to);
    }
  };
  VF column_scale0 = hn::Zero(kF), column_scale1 = hn::Zero(kF);
  if constexpr (kIsInt) {
    column_scale0 = hn::Load(kF, p.column_scales);
    column_scale1 = hn::Load(kF, p.column_scales + kPanel - kLanes);
  }
  HWY_UNROLL(8)
  for (size_t r = 0; r < kBlockRows; ++r) {
    store(sums0[r], r, column_scale0, sums + r * stride);
    if constexpr (kPanelVectors == 2) {
      store(sums1[r], r, column_scale1, sums + r * stride + kLanes);
    }
  }
}

// What turns numbers into int16 and products back.
struct Int16Scale {
  VF scale, inverse;
};

HWY_INLINE Int16Scale RowScale(VF norm) {
  const VF safe = hn::Add(norm, hn::Set(kF, kTiny));
  const VF nan_unless_finite = hn::Sub(norm, norm);
  return {hn::Div(hn::Set(kF, kRowNorm), safe),
          hn::MulAdd(safe, hn::Set(kF, 1.0f / kRowNorm), nan_unless_finite)};
}

HWY_INLINE Int16Scale ColumnScale(VF norm, VF largest) {
  const VF tiny = hn::Set(kF, kTiny);
  const VF scale = hn::Min(hn::Div(hn::Set(kF, kColumnNorm), hn::Add(norm, tiny)),
                           hn::Div(hn::Set(kF, kLargestInt16), hn::Add(largest, tiny)));
  return {scale, hn::Add(hn::Div(hn::Set(kF, 1.0f), scale), hn::Sub(norm, norm))};
}

// Adds the upper half of the lanes to the lower until 4 are left.
template <class D>
HWY_INLINE hn::Vec<hn::Full128<float>> FoldTo4(D d, hn::Vec<D> v) {
  if constexpr (hn::MaxLanes(d) == 4) {
    return v;
  } else {
    const hn::Half<D> half;
    return FoldTo4(half, hn::Add(hn::LowerHalf(half, v), hn::UpperHalf(half, v)));
  }
}

// Sums of squares of x[0, n) in 4 lanes: element i in lane i % 32 of 32, folded in halves. n is a
// multiple of 32.
HWY_INLINE void SumSquares(const float* HWY_RESTRICT x, size_t n, float* HWY_RESTRICT out) {
  constexpr size_t kVectors = 32 / kLanes;
  VF sums[kVectors];
  for (VF& sum : sums) sum = hn::Zero(kF);
  for (size_t i = 0; i < n; i += 32) {
    HWY_UNROLL(4)
    for (size_t v = 0; v < kVectors; ++v) {
      const VF value = hn::Load(kF, x + i + v * kLanes);
      sums[v] = hn::MulAdd(value, value, sums[v]);
    }
  }
  for (size_t half = kVectors / 2; half > 0; half /= 2) {
    for (size_t v = 0; v < half; ++v) sums[v] = hn::Add(sums[v], sums[v + half]);
  }
  hn::Store(FoldTo4(kF, sums[0]), hn::Full128<float>(), out);
}

// Scales of kLanes rows from their sums of squares in 4 lanes each.
HWY_INLINE Int16Scale RowScales(const float* sums) {
  VF s0, s1, s2, s3;
  hn::LoadInterleaved4(kF, sums, s0, s1, s2, s3);
  return RowScale(hn::Sqrt(hn::Add(hn::Add(s0, s2), hn::Add(s1, s3))));
}

// n numbers (a multiple of 32) -> the lines of one row of the left side.
HWY_INLINE void PackRow(const float* HWY_RESTRICT x, size_t n, float scale, int16_t,
                        int32_t* HWY_RESTRICT to) {
  const hn::Repartition<uint16_t, decltype(kF)> d16;
  const VF factor = hn::Set(kF, scale), rounder = hn::Set(kF, kRounder);
  constexpr size_t kPairs = kLanes;  // words of two vectors
  for (size_t i = 0; i < n; i += 2 * kLineWords, to += kBlockRows * kLineWords) {
    for (size_t w = 0; w < kLineWords; w += kPairs) {
      const VF low = hn::MulAdd(hn::Load(kF, x + i + 2 * w), factor, rounder);
      const VF high = hn::MulAdd(hn::Load(kF, x + i + 2 * w + kLanes), factor, rounder);
      const auto packed = hn::ConcatEven(d16, hn::BitCast(d16, high), hn::BitCast(d16, low));
      hn::Store(hn::BitCast(kI, packed), kI, to + w);
    }
  }
}

HWY_INLINE void PackRow(const float* HWY_RESTRICT x, size_t n, float, float,
                        int32_t* HWY_RESTRICT to) {
  for (size_t i = 0; i < n; i += kLineWords, to += kBlockRows * kLineWords) {
    std::memcpy(to, x + i, kLineWords * sizeof(float));
  }
}

// n numbers of each of kLanes columns, [n][kLanes] -> words of a panel. Gives the columns' scales.
HWY_INLINE void PackColumns(const float* HWY_RESTRICT x, size_t n, int16_t,
                            int32_t* HWY_RESTRICT to, float* HWY_RESTRICT scales) {
  VF squares = hn::Zero(kF), largest = hn::Zero(kF);
  for (size_t i = 0; i < n; ++i) {
    const VF value = hn::Load(kF, x + i * kLanes);
    squares = hn::MulAdd(value, value, squares);
    largest = hn::Max(largest, hn::Abs(value));
  }
  const Int16Scale column = ColumnScale(hn::Sqrt(squares), largest);
  hn::Store(column.inverse, kF, scales);
  const VF rounder = hn::Set(kF, kRounder);
  const VI low_half = hn::Set(kI, 0xFFFF);
  for (size_t i = 0; i < n; i += 2, to += kPanel) {
    const VF low = hn::MulAdd(hn::Load(kF, x + i * kLanes), column.scale, rounder);
    const VF high = hn::MulAdd(hn::Load(kF, x + (i + 1) * kLanes), column.scale, rounder);
    hn::Store(
        hn::Or(hn::And(hn::BitCast(kI, low), low_half), hn::ShiftLeft<16>(hn::BitCast(kI, high))),
        kI, to);
  }
}

HWY_INLINE void PackColumns(const float* HWY_RESTRICT x, size_t n, float, int32_t* HWY_RESTRICT to,
                            float*) {
  for (size_t i = 0; i < n; ++i) std::memcpy(to + i * kPanel, x + i * kLanes, kLanes * 4);
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace ingot::cpu
HWY_AFTER_NAMESPACE();

#endif  // INGOT_DEVICES_CPU_CONV_PRODUCT_INL_H_
