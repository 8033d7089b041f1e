// Stands in for the CUDA toolkit's header of this name: e4m3 on the host.
#pragma once

#include <cstdint>

#include "tensor/float_bits.h"

using __nv_fp8_storage_t = uint8_t;
struct __nv_fp8_e4m3 {
  __nv_fp8_storage_t __x;
};
enum __nv_saturation_t { __NV_SATFINITE };
enum __nv_fp8_interpretation_t { __NV_E4M3 };

inline __nv_fp8_storage_t __nv_cvt_float_to_fp8(float x, __nv_saturation_t,
                                                __nv_fp8_interpretation_t) {
  return ingot::F32ToF8E4M3(x);
}
