#include "devices/cpu/codec_stub.h"

#include <cmath>
#include <cstring>

#include "base/check.h"

namespace ingot {
namespace {

float HalfToFloat(const std::byte* in) {
  uint16_t h;
  std::memcpy(&h, in, 2);
  const float sign = h & 0x8000 ? -1.0f : 1.0f;
  const int exponent = (h >> 10) & 31, mantissa = h & 1023;
  if (exponent == 31) return mantissa ? NAN : sign * INFINITY;
  if (exponent == 0) return sign * std::ldexp(static_cast<float>(mantissa), -24);
  return sign * std::ldexp(static_cast<float>(mantissa + 1024), exponent - 25);
}

}  // namespace

void DequantizeRow(DType dtype, const std::byte* in, float* out, int64_t n) {
  const DTypeInfo& info = Info(dtype);
  for (int64_t i = 0; i < n; i += info.block_elements, in += info.block_bytes) {
    const auto* q = reinterpret_cast<const uint8_t*>(in) + 2;
    if (dtype == DType::kF32) {
      std::memcpy(out + i, in, 4);
    } else if (dtype == DType::kF16) {
      out[i] = HalfToFloat(in);
    } else if (dtype == DType::kBF16) {
      std::memset(out + i, 0, 4);
      std::memcpy(reinterpret_cast<std::byte*>(out + i) + 2, in, 2);
    } else if (dtype == DType::kQ8_0) {
      for (int j = 0; j < 32; ++j) out[i + j] = static_cast<int8_t>(q[j]) * HalfToFloat(in);
    } else {
      INGOT_CHECK(dtype == DType::kQ4_0);
      for (int j = 0; j < 16; ++j) {
        out[i + j] = static_cast<float>((q[j] & 15) - 8) * HalfToFloat(in);
        out[i + j + 16] = static_cast<float>((q[j] >> 4) - 8) * HalfToFloat(in);
      }
    }
  }
}

}  // namespace ingot
