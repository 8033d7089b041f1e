// Stands in for the CUDA toolkit's header of this name: half precision on the host.
#pragma once

#include <cstdint>

#include "tensor/float_bits.h"

struct __half {
  uint16_t bits;
};

inline float __half2float(__half x) { return ingot::F16ToF32(x.bits); }
inline __half __float2half_rn(float x) { return {ingot::F32ToF16(x)}; }
inline __half __ushort_as_half(unsigned short bits) { return {bits}; }
