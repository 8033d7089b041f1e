// Bits of the narrow float types to f32 and back, the same on every machine.
//
// Widening is exact. Narrowing rounds to nearest, ties to even, makes NaNs quiet
// and keeps the top bits of their payload, as x86 does (VCVTPS2PH).
#pragma once

#include <bit>
#include <cstdint>

namespace ingot {

inline float F16ToF32(uint16_t half) {
  const uint32_t magnitude = half & 0x7FFF;
  const uint32_t sign = static_cast<uint32_t>(half & 0x8000) << 16;
  // Subnormals count in units of 2^-24; infinity and NaN take the largest exponent.
  const uint32_t subnormal = std::bit_cast<uint32_t>(static_cast<float>(magnitude) * 0x1p-24f);
  const uint32_t normal = (magnitude << 13) + (magnitude >= 0x7C00 ? 224u << 23 : 112u << 23);
  return std::bit_cast<float>(sign | (magnitude < 0x0400 ? subnormal : normal));
}

inline uint16_t F32ToF16(float value) {
  const uint32_t bits = std::bit_cast<uint32_t>(value);
  const uint32_t magnitude = bits & 0x7FFFFFFF;
  uint32_t half;
  if (magnitude > 0x7F800000) {
    half = 0x7E00 | ((magnitude >> 13) & 0x3FF);
  } else if (magnitude >= 0x477FF000) {  // 65520, halfway to the first power beyond
    half = 0x7C00;
  } else if (magnitude < 0x38800000) {  // 2^-14: adding 0.5 rounds to units of 2^-24
    half = std::bit_cast<uint32_t>(std::bit_cast<float>(magnitude) + 0.5f) - 0x3F000000;
  } else {
    half = (magnitude + 0xFFF + ((magnitude >> 13) & 1) - (112u << 23)) >> 13;
  }
  return static_cast<uint16_t>(half | (bits >> 16 & 0x8000));
}

inline float BF16ToF32(uint16_t bits) {
  return std::bit_cast<float>(static_cast<uint32_t>(bits) << 16);
}

inline uint16_t F32ToBF16(float value) {
  const uint32_t bits = std::bit_cast<uint32_t>(value);
  if ((bits & 0x7FFFFFFF) > 0x7F800000) return static_cast<uint16_t>(bits >> 16 | 0x40);
  return static_cast<uint16_t>((bits + 0x7FFF + (bits >> 16 & 1)) >> 16);
}

// The "fn" type of the OCP 8-bit formats: bias 7, no infinity, NaN where all
// exponent and mantissa bits are set.
inline float F8E4M3ToF32(uint8_t bits) {
  const uint32_t magnitude = bits & 0x7F;
  const uint32_t sign = static_cast<uint32_t>(bits & 0x80) << 24;
  const uint32_t subnormal = std::bit_cast<uint32_t>(static_cast<float>(magnitude) * 0x1p-9f);
  const uint32_t normal = magnitude == 0x7F ? 0x7FC00000 : (magnitude << 20) + (120u << 23);
  return std::bit_cast<float>(sign | (magnitude < 8 ? subnormal : normal));
}

// What is beyond 448, infinity among it, becomes 448.
inline uint8_t F32ToF8E4M3(float value) {
  const uint32_t bits = std::bit_cast<uint32_t>(value);
  const uint32_t magnitude = bits & 0x7FFFFFFF;
  uint32_t narrow;
  if (magnitude > 0x7F800000) {
    narrow = 0x7F;
  } else if (magnitude >= 0x43E00000) {  // 448
    narrow = 0x7E;
  } else if (magnitude < 0x3C800000) {  // 2^-6: adding 2^14 rounds to units of 2^-9
    narrow = std::bit_cast<uint32_t>(std::bit_cast<float>(magnitude) + 0x1p14f) - 0x46800000;
  } else {
    narrow = (magnitude + 0x7FFFF + ((magnitude >> 20) & 1) - (120u << 23)) >> 20;
  }
  return static_cast<uint8_t>(narrow | (bits >> 24 & 0x80));
}

// The upper byte of an f16.
inline float F8E5M2ToF32(uint8_t bits) { return F16ToF32(static_cast<uint16_t>(bits << 8)); }

}  // namespace ingot
