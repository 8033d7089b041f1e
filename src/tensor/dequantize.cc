// Decoding of every DType. Each block function repeats the layout of its
// block_* struct in ggml-common.h.
#include <cstring>

#include "base/check.h"
#include "tensor/codec.h"
#include "tensor/float_bits.h"

namespace ingot {
namespace {

// Non-linear values of IQ4_NL and IQ4_XS (ggml-common.h, kvalues_iq4nl).
constexpr int8_t kIQ4Values[16] = {-127, -104, -83, -65, -49, -35, -22, -10,
                                   1,    13,   25,  38,  53,  69,  89,  113};

float ReadF16(const uint8_t* in) {
  uint16_t bits;
  std::memcpy(&bits, in, sizeof bits);
  return F16ToF32(bits);
}

// d f16, 16 bytes of 4 bits: element i low in byte i, element i + 16 high.
void DecodeQ4_0(const uint8_t* in, float* out) {
  const float d = ReadF16(in);
  for (int i = 0; i < 16; ++i) {
    out[i] = d * static_cast<float>((in[2 + i] & 15) - 8);
    out[i + 16] = d * static_cast<float>((in[2 + i] >> 4) - 8);
  }
}

// d, m f16, then as Q4_0.
void DecodeQ4_1(const uint8_t* in, float* out) {
  const float d = ReadF16(in);
  const float m = ReadF16(in + 2);
  for (int i = 0; i < 16; ++i) {
    out[i] = d * static_cast<float>(in[4 + i] & 15) + m;
    out[i + 16] = d * static_cast<float>(in[4 + i] >> 4) + m;
  }
}

// Element i of 5 bits: bit i of `high` above the nibble of Q4_0.
struct Q5Pair {
  int low, high;
};
Q5Pair ReadQ5(const uint8_t* high, const uint8_t* nibbles, int i) {
  uint32_t bits;
  std::memcpy(&bits, high, sizeof bits);
  return {.low = (nibbles[i] & 15) | static_cast<int>((bits >> i & 1) << 4),
          .high = (nibbles[i] >> 4) | static_cast<int>((bits >> (i + 16) & 1) << 4)};
}

// d f16, 32 high bits, 16 bytes of nibbles.
void DecodeQ5_0(const uint8_t* in, float* out) {
  const float d = ReadF16(in);
  for (int i = 0; i < 16; ++i) {
    const Q5Pair q = ReadQ5(in + 2, in + 6, i);
    out[i] = d * static_cast<float>(q.low - 16);
    out[i + 16] = d * static_cast<float>(q.high - 16);
  }
}

// d, m f16, 32 high bits, 16 bytes of nibbles.
void DecodeQ5_1(const uint8_t* in, float* out) {
  const float d = ReadF16(in);
  const float m = ReadF16(in + 2);
  for (int i = 0; i < 16; ++i) {
    const Q5Pair q = ReadQ5(in + 4, in + 8, i);
    out[i] = d * static_cast<float>(q.low) + m;
    out[i + 16] = d * static_cast<float>(q.high) + m;
  }
}

// d f16, 32 int8.
void DecodeQ8_0(const uint8_t* in, float* out) {
  const float d = ReadF16(in);
  for (int i = 0; i < 32; ++i) out[i] = d * static_cast<float>(static_cast<int8_t>(in[2 + i]));
}

// 16 bytes of (scale, min) nibbles, 64 bytes of 2 bits, d, dmin f16. Each half
// of 128 elements takes 32 bytes, two bits of each for 32 elements in turn.
void DecodeQ2_K(const uint8_t* in, float* out) {
  const float d = ReadF16(in + 80);
  const float dmin = ReadF16(in + 82);
  for (int i = 0; i < 256; ++i) {
    const uint8_t scale = in[i / 16];
    const int q = in[16 + i / 128 * 32 + i % 32] >> (i % 128 / 32 * 2) & 3;
    out[i] = d * static_cast<float>(scale & 15) * static_cast<float>(q) -
             dmin * static_cast<float>(scale >> 4);
  }
}

// 32 bytes of high bits, 64 bytes of 2 bits as in Q2_K, 12 bytes of 6-bit
// scales, d f16. Scale j: 4 bits in byte j % 8, 2 bits in byte 8 + j % 4.
void DecodeQ3_K(const uint8_t* in, float* out) {
  const uint8_t* scales = in + 96;
  const float d = ReadF16(in + 108);
  for (int j = 0; j < 16; ++j) {
    const int scale = (scales[j % 8] >> (j / 8 * 4) & 15) | (scales[8 + j % 4] >> (j / 4 * 2) & 3)
                                                                << 4;
    const float dl = d * static_cast<float>(scale - 32);
    for (int i = j * 16; i < j * 16 + 16; ++i) {
      const int low = in[32 + i / 128 * 32 + i % 32] >> (i % 128 / 32 * 2) & 3;
      const int high = in[i % 32] >> (i / 32) & 1;
      out[i] = dl * static_cast<float>(low - (high ^ 1) * 4);
    }
  }
}

// Scale and min j of the 12 bytes of Q4_K and Q5_K: 6 bits each, the first four
// in one byte, the others in a nibble and the two bits that the first left over.
struct ScaleMin {
  int scale, min;
};
ScaleMin ReadScaleMin(const uint8_t* s, int j) {
  if (j < 4) return {.scale = s[j] & 63, .min = s[j + 4] & 63};
  return {.scale = (s[j + 4] & 15) | (s[j - 4] >> 6) << 4, .min = s[j + 4] >> 4 | (s[j] >> 6) << 4};
}

// d, dmin f16, 12 bytes of scales, 128 bytes of nibbles: 32 bytes hold group j
// low and group j + 1 high.
void DecodeQ4_K(const uint8_t* in, float* out) {
  const float d = ReadF16(in);
  const float dmin = ReadF16(in + 2);
  for (int j = 0; j < 8; ++j) {
    const ScaleMin s = ReadScaleMin(in + 4, j);
    const float dl = d * static_cast<float>(s.scale);
    const float ml = dmin * static_cast<float>(s.min);
    for (int i = 0; i < 32; ++i) {
      const int q = in[16 + j / 2 * 32 + i] >> (j % 2 * 4) & 15;
      out[j * 32 + i] = dl * static_cast<float>(q) - ml;
    }
  }
}

// d, dmin f16, 12 bytes of scales, 32 bytes of high bits (bit j for group j),
// 128 bytes of nibbles as in Q4_K.
void DecodeQ5_K(const uint8_t* in, float* out) {
  const float d = ReadF16(in);
  const float dmin = ReadF16(in + 2);
  for (int j = 0; j < 8; ++j) {
    const ScaleMin s = ReadScaleMin(in + 4, j);
    const float dl = d * static_cast<float>(s.scale);
    const float ml = dmin * static_cast<float>(s.min);
    for (int i = 0; i < 32; ++i) {
      const int low = in[48 + j / 2 * 32 + i] >> (j % 2 * 4) & 15;
      const int high = in[16 + i] >> j & 1;
      out[j * 32 + i] = dl * static_cast<float>(low | high << 4) - ml;
    }
  }
}

// 128 bytes of nibbles, 64 bytes of 2 high bits, 16 int8 scales, d f16. A half
// of 128 elements: 64 bytes, low nibbles first; 32 bytes, two bits in turn.
void DecodeQ6_K(const uint8_t* in, float* out) {
  const float d = ReadF16(in + 208);
  for (int j = 0; j < 16; ++j) {
    const float dl = d * static_cast<float>(static_cast<int8_t>(in[192 + j]));
    for (int i = j * 16; i < j * 16 + 16; ++i) {
      const int low = in[i / 128 * 64 + i % 64] >> (i % 128 / 64 * 4) & 15;
      const int high = in[128 + i / 128 * 32 + i % 32] >> (i % 128 / 32 * 2) & 3;
      out[i] = dl * static_cast<float>((low | high << 4) - 32);
    }
  }
}

// d f16, nibbles as in Q4_0 that pick a value.
void DecodeIQ4_NL(const uint8_t* in, float* out) {
  const float d = ReadF16(in);
  for (int i = 0; i < 16; ++i) {
    out[i] = d * static_cast<float>(kIQ4Values[in[2 + i] & 15]);
    out[i + 16] = d * static_cast<float>(kIQ4Values[in[2 + i] >> 4]);
  }
}

// d f16, 8 x 2 high and 8 x 4 low bits of scales, 16 bytes for 32 elements.
void DecodeIQ4_XS(const uint8_t* in, float* out) {
  const float d = ReadF16(in);
  const int high_bits = in[2] | in[3] << 8;
  for (int j = 0; j < 8; ++j) {
    const int scale = (in[4 + j / 2] >> (j % 2 * 4) & 15) | (high_bits >> (j * 2) & 3) << 4;
    const float dl = d * static_cast<float>(scale - 32);
    for (int i = 0; i < 16; ++i) {
      const uint8_t q = in[8 + j * 16 + i];
      out[j * 32 + i] = dl * static_cast<float>(kIQ4Values[q & 15]);
      out[j * 32 + i + 16] = dl * static_cast<float>(kIQ4Values[q >> 4]);
    }
  }
}

// Decodes each block with `decode(in, out)`.
template <auto decode>
void DecodeBlocks(DType dtype, const std::byte* in, float* out, int64_t num_elements) {
  const DTypeInfo& info = Info(dtype);
  const auto* block = reinterpret_cast<const uint8_t*>(in);
  for (int64_t i = 0; i < num_elements; i += info.block_elements, block += info.block_bytes) {
    decode(block, out + i);
  }
}

// Decodes each plain element, whose bytes are a T, with `to_f32(T)`.
template <typename T, auto to_f32>
void DecodePlain(const std::byte* in, float* out, int64_t num_elements) {
  for (int64_t i = 0; i < num_elements; ++i) {
    T value;
    std::memcpy(&value, in + i * static_cast<int64_t>(sizeof(T)), sizeof(T));
    out[i] = to_f32(value);
  }
}

constexpr auto kToFloat = [](auto value) { return static_cast<float>(value); };

}  // namespace

void DequantizeRow(DType dtype, const std::byte* in, float* out, int64_t num_elements) {
  INGOT_CHECK(num_elements % Info(dtype).block_elements == 0);
  switch (dtype) {
    case DType::kF32:
      return DecodePlain<float, kToFloat>(in, out, num_elements);
    case DType::kF16:
      return DecodePlain<uint16_t, F16ToF32>(in, out, num_elements);
    case DType::kBF16:
      return DecodePlain<uint16_t, BF16ToF32>(in, out, num_elements);
    case DType::kF8E4M3:
      return DecodePlain<uint8_t, F8E4M3ToF32>(in, out, num_elements);
    case DType::kF8E5M2:
      return DecodePlain<uint8_t, F8E5M2ToF32>(in, out, num_elements);
    case DType::kI64:
      return DecodePlain<int64_t, kToFloat>(in, out, num_elements);
    case DType::kI32:
      return DecodePlain<int32_t, kToFloat>(in, out, num_elements);
    case DType::kU8:
      return DecodePlain<uint8_t, kToFloat>(in, out, num_elements);
    case DType::kQ4_0:
      return DecodeBlocks<DecodeQ4_0>(dtype, in, out, num_elements);
    case DType::kQ4_1:
      return DecodeBlocks<DecodeQ4_1>(dtype, in, out, num_elements);
    case DType::kQ5_0:
      return DecodeBlocks<DecodeQ5_0>(dtype, in, out, num_elements);
    case DType::kQ5_1:
      return DecodeBlocks<DecodeQ5_1>(dtype, in, out, num_elements);
    case DType::kQ8_0:
      return DecodeBlocks<DecodeQ8_0>(dtype, in, out, num_elements);
    case DType::kQ2_K:
      return DecodeBlocks<DecodeQ2_K>(dtype, in, out, num_elements);
    case DType::kQ3_K:
      return DecodeBlocks<DecodeQ3_K>(dtype, in, out, num_elements);
    case DType::kQ4_K:
      return DecodeBlocks<DecodeQ4_K>(dtype, in, out, num_elements);
    case DType::kQ5_K:
      return DecodeBlocks<DecodeQ5_K>(dtype, in, out, num_elements);
    case DType::kQ6_K:
      return DecodeBlocks<DecodeQ6_K>(dtype, in, out, num_elements);
    case DType::kIQ4_NL:
      return DecodeBlocks<DecodeIQ4_NL>(dtype, in, out, num_elements);
    case DType::kIQ4_XS:
      return DecodeBlocks<DecodeIQ4_XS>(dtype, in, out, num_elements);
  }
}

}  // namespace ingot
