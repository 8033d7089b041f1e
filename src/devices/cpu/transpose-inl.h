// Transposition of matrices of 4-byte elements.
#include <cstddef>

#include "devices/cpu/simd-inl.h"

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
