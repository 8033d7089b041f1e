// Transposition of rows of 4-byte elements (f32, or groups of narrower integers) into columns.
#include <cstddef>
#include <cstdint>

#include "devices/cpu/simd-inl.h"
#include "devices/cpu/unroll-inl.h"

// Read once per target of hwy/foreach_target.h, hence this toggle instead of #pragma once.
#if defined(INGOT_DEVICES_CPU_TRANSPOSE_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef INGOT_DEVICES_CPU_TRANSPOSE_INL_H_
#undef INGOT_DEVICES_CPU_TRANSPOSE_INL_H_
#else
#define INGOT_DEVICES_CPU_TRANSPOSE_INL_H_
#endif

HWY_BEFORE_NAMESPACE();
namespace ingot::cpu {
namespace HWY_NAMESPACE {

using U32 = hn::Vec<hn::ScalableTag<uint32_t>>;
inline constexpr size_t kDwords = HWY_MAX_BYTES / sizeof(uint32_t);  // of a vector

// quads[i] = in 128-bit block b, dword 4b + i of the four rows.
HWY_INLINE void TransposeQuads(U32 row0, U32 row1, U32 row2, U32 row3, U32 (&quads)[4]) {
  const hn::ScalableTag<uint32_t> d;
  const hn::ScalableTag<uint64_t> d64;
  const auto low01 = hn::BitCast(d64, hn::InterleaveLower(d, row0, row1));
  const auto low23 = hn::BitCast(d64, hn::InterleaveLower(d, row2, row3));
  const auto high01 = hn::BitCast(d64, hn::InterleaveUpper(d, row0, row1));
  const auto high23 = hn::BitCast(d64, hn::InterleaveUpper(d, row2, row3));
  quads[0] = hn::BitCast(d, hn::InterleaveLower(d64, low01, low23));
  quads[1] = hn::BitCast(d, hn::InterleaveUpper(d64, low01, low23));
  quads[2] = hn::BitCast(d, hn::InterleaveLower(d64, high01, high23));
  quads[3] = hn::BitCast(d, hn::InterleaveUpper(d64, high01, high23));
}

inline constexpr size_t kTransposedRows = 16;

// Dword i < kDwords of the 16 rows load(0), ..., load(15), in their order, to to[i * stride ...].
template <class Load>
HWY_INLINE void TransposeDwords(const Load& load, uint32_t* to, size_t stride) {
  const hn::ScalableTag<uint32_t> d;
  U32 q[4][4];
  Unroll<4>([&](auto i) INGOT_UNROLLED {
    TransposeQuads(load(4 * i), load(4 * i + 1), load(4 * i + 2), load(4 * i + 3), q[i]);
  });
  Unroll<4>([&](auto i) INGOT_UNROLLED {
    uint32_t* out = to + i * stride;
#if HWY_MAX_BYTES == 64
    const auto even01 = hn::OddEvenBlocks(hn::SwapAdjacentBlocks(q[1][i]), q[0][i]);
    const auto odd01 = hn::OddEvenBlocks(q[1][i], hn::SwapAdjacentBlocks(q[0][i]));
    const auto even23 = hn::OddEvenBlocks(hn::SwapAdjacentBlocks(q[3][i]), q[2][i]);
    const auto odd23 = hn::OddEvenBlocks(q[3][i], hn::SwapAdjacentBlocks(q[2][i]));
    hn::Store(hn::ConcatLowerLower(d, even23, even01), d, out);
    hn::Store(hn::ConcatLowerLower(d, odd23, odd01), d, out + 4 * stride);
    hn::Store(hn::ConcatUpperUpper(d, even23, even01), d, out + 8 * stride);
    hn::Store(hn::ConcatUpperUpper(d, odd23, odd01), d, out + 12 * stride);
#else
    hn::Store(hn::ConcatLowerLower(d, q[1][i], q[0][i]), d, out);
    hn::Store(hn::ConcatLowerLower(d, q[3][i], q[2][i]), d, out + kDwords);
    hn::Store(hn::ConcatUpperUpper(d, q[1][i], q[0][i]), d, out + 4 * stride);
    hn::Store(hn::ConcatUpperUpper(d, q[3][i], q[2][i]), d, out + 4 * stride + kDwords);
#endif
  });
}

// to[i * to_stride + j] = from[j * from_stride + i] for i, j < 4.
template <class T>
HWY_INLINE void Transpose4x4(const T* from, size_t from_stride, T* to, size_t to_stride) {
  const hn::Full128<T> d;
  const hn::Full128<uint64_t> pairs;
  const auto r0 = hn::LoadU(d, from), r1 = hn::LoadU(d, from + from_stride);
  const auto r2 = hn::LoadU(d, from + 2 * from_stride), r3 = hn::LoadU(d, from + 3 * from_stride);
  const auto low01 = hn::BitCast(pairs, hn::InterleaveLower(d, r0, r1));
  const auto low23 = hn::BitCast(pairs, hn::InterleaveLower(d, r2, r3));
  const auto high01 = hn::BitCast(pairs, hn::InterleaveUpper(d, r0, r1));
  const auto high23 = hn::BitCast(pairs, hn::InterleaveUpper(d, r2, r3));
  hn::StoreU(hn::BitCast(d, hn::InterleaveLower(pairs, low01, low23)), d, to);
  hn::StoreU(hn::BitCast(d, hn::InterleaveUpper(pairs, low01, low23)), d, to + to_stride);
  hn::StoreU(hn::BitCast(d, hn::InterleaveLower(pairs, high01, high23)), d, to + 2 * to_stride);
  hn::StoreU(hn::BitCast(d, hn::InterleaveUpper(pairs, high01, high23)), d, to + 3 * to_stride);
}

// to[i * to_stride + j] = from[j * from_stride + i] for j < num_rows, i < num_columns.
template <class T>
HWY_INLINE void Transpose(const T* from, size_t from_stride, size_t num_rows, size_t num_columns,
                          T* to, size_t to_stride) {
  const size_t rows = num_rows / 4 * 4, columns = num_columns / 4 * 4;
  for (size_t j = 0; j < rows; j += 4) {
    for (size_t i = 0; i < columns; i += 4) {
      Transpose4x4(from + j * from_stride + i, from_stride, to + i * to_stride + j, to_stride);
    }
  }
  for (size_t j = 0; j < num_rows; ++j) {
    for (size_t i = j < rows ? columns : 0; i < num_columns; ++i) {
      to[i * to_stride + j] = from[j * from_stride + i];
    }
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace ingot::cpu
HWY_AFTER_NAMESPACE();

#endif  // INGOT_DEVICES_CPU_TRANSPOSE_INL_H_
