// Powers of two that bring a row into the range of a type that ends early, and back.
#pragma once

#include "devices/cuda/kernel.h"

namespace ingot::cuda {

// The largest magnitude of a scaled row is in [2^kTopExponent, 2^(kTopExponent + 1)); 0: rows in
// this type are not scaled.
//
// Of f16, which ends at 65504: what then is less than its least normal, 2^-14, is less than 2^-28
// of the largest. Of e4m3, which ends at 448: less than 2^-6, so than 2^-13 of the largest.
template <class T>
inline constexpr int kTopExponent = 0;
template <>
inline constexpr int kTopExponent<__half> = 14;
template <>
inline constexpr int kTopExponent<__nv_fp8_e4m3> = 7;

template <class T>
inline constexpr bool kIsScaled = kTopExponent<T> != 0;

// Of the row's largest magnitude. Of zero, and of what is so small that it would be more, it is
// 2^126, so that its inverse is normal; of infinity it is finite.
template <class T>
__device__ float ScaleOf(float largest) {
  const unsigned exponent = __float_as_uint(largest) >> 23;  // biased by 127
  const unsigned scale = 127 + kTopExponent<T> + 127 - exponent;
  return __uint_as_float((scale < 253 ? scale : 253) << 23);
}
__device__ inline float InverseOf(float power_of_two) {
  return __uint_as_float((254u << 23) - __float_as_uint(power_of_two));
}

}  // namespace ingot::cuda
