// Stands in for the CUDA toolkit's header of this name: bfloat16 on the host.
#pragma once

#include <cstdint>

#include "tensor/float_bits.h"

struct __nv_bfloat16 {
  uint16_t bits;
};

inline float __bfloat162float(__nv_bfloat16 x) { return ingot::BF16ToF32(x.bits); }
inline __nv_bfloat16 __float2bfloat16_rn(float x) { return {ingot::F32ToBF16(x)}; }
