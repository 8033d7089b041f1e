// Encoding of the types that CanQuantize. Layouts: dequantize.cc.
#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>

#include "base/check.h"
#include "tensor/codec.h"
#include "tensor/float_bits.h"

namespace ingot {
namespace {

constexpr int kBlock = 32;

void WriteF16(uint8_t* out, float value) {
  const uint16_t bits = F32ToF16(value);
  std::memcpy(out, &bits, sizeof bits);
}

float Inverse(float d) { return d == 0 ? 0.0f : 1 / d; }

// Truncates into [0, max]; NaN, which only infinite input makes, becomes 0.
uint8_t TruncateTo(float value, int max) {
  if (!(value > 0)) return 0;
  return static_cast<uint8_t>(std::min(value, static_cast<float>(max)));
}

// The value that is farthest from zero, with its sign; the first of equals.
float Extreme(const float* in) {
  return *std::max_element(in, in + kBlock,
                           [](float a, float b) { return std::abs(a) < std::abs(b); });
}

void WriteNibbles(uint8_t* out, const std::array<uint8_t, kBlock>& q) {
  for (int i = 0; i < 16; ++i) {
    out[i] = static_cast<uint8_t>((q[i] & 15) | (q[i + 16] & 15) << 4);
  }
}

void WriteFifthBits(uint8_t* out, const std::array<uint8_t, kBlock>& q) {
  uint32_t bits = 0;
  for (int i = 0; i < kBlock; ++i) bits |= static_cast<uint32_t>(q[i] >> 4) << i;
  std::memcpy(out, &bits, sizeof bits);
}

// q = x / d + half of the range, where the extreme value gets q = 0.
std::array<uint8_t, kBlock> SymmetricQuants(const float* in, int num_levels, float* d) {
  const int half = num_levels / 2;
  *d = Extreme(in) / static_cast<float>(-half);
  const float inverse = Inverse(*d);
  std::array<uint8_t, kBlock> q;
  for (int i = 0; i < kBlock; ++i) {
    q[i] = TruncateTo(in[i] * inverse + (static_cast<float>(half) + 0.5f), num_levels - 1);
  }
  return q;
}

// q = (x - min) / d.
std::array<uint8_t, kBlock> AffineQuants(const float* in, int num_levels, float* d, float* min) {
  const auto [low, high] = std::minmax_element(in, in + kBlock);
  *min = *low;
  *d = (*high - *low) / static_cast<float>(num_levels - 1);
  const float inverse = Inverse(*d);
  std::array<uint8_t, kBlock> q;
  for (int i = 0; i < kBlock; ++i) {
    q[i] = TruncateTo((in[i] - *min) * inverse + 0.5f, num_levels - 1);
  }
  return q;
}

void EncodeQ4_0(const float* in, uint8_t* out) {
  float d;
  const auto q = SymmetricQuants(in, 16, &d);
  WriteF16(out, d);
  WriteNibbles(out + 2, q);
}

void EncodeQ4_1(const float* in, uint8_t* out) {
  float d, min;
  const auto q = AffineQuants(in, 16, &d, &min);
  WriteF16(out, d);
  WriteF16(out + 2, min);
  WriteNibbles(out + 4, q);
}

void EncodeQ5_0(const float* in, uint8_t* out) {
  float d;
  const auto q = SymmetricQuants(in, 32, &d);
  WriteF16(out, d);
  WriteFifthBits(out + 2, q);
  WriteNibbles(out + 6, q);
}

void EncodeQ5_1(const float* in, uint8_t* out) {
  float d, min;
  const auto q = AffineQuants(in, 32, &d, &min);
  WriteF16(out, d);
  WriteF16(out + 2, min);
  WriteFifthBits(out + 4, q);
  WriteNibbles(out + 8, q);
}

// Rounds halves away from zero, unlike the others.
void EncodeQ8_0(const float* in, uint8_t* out) {
  const float d = std::abs(Extreme(in)) / 127;
  const float inverse = Inverse(d);
  WriteF16(out, d);
  for (int i = 0; i < kBlock; ++i) {
    const float rounded = std::round(in[i] * inverse);
    // The comparison also sends NaN, which only infinite input makes, to a bound.
    const float q = std::max(-127.0f, std::min(rounded, 127.0f));
    out[2 + i] = static_cast<uint8_t>(static_cast<int8_t>(q));
  }
}

template <auto encode>
void EncodeBlocks(DType dtype, const float* in, std::byte* out, int64_t num_elements) {
  auto* block = reinterpret_cast<uint8_t*>(out);
  for (int64_t i = 0; i < num_elements; i += kBlock, block += Info(dtype).block_bytes) {
    encode(in + i, block);
  }
}

template <auto from_f32>
void EncodePlain(const float* in, std::byte* out, int64_t num_elements) {
  for (int64_t i = 0; i < num_elements; ++i) {
    const auto value = from_f32(in[i]);
    std::memcpy(out + i * static_cast<int64_t>(sizeof value), &value, sizeof value);
  }
}

constexpr auto kSame = [](float value) { return value; };

}  // namespace

bool CanQuantize(DType dtype) {
  constexpr std::array kTypes = {DType::kF32,  DType::kF16,  DType::kBF16, DType::kQ4_0,
                                 DType::kQ4_1, DType::kQ5_0, DType::kQ5_1, DType::kQ8_0};
  return std::ranges::find(kTypes, dtype) != kTypes.end();
}

void QuantizeRow(DType dtype, const float* in, std::byte* out, int64_t num_elements) {
  INGOT_CHECK(CanQuantize(dtype) && num_elements % Info(dtype).block_elements == 0);
  switch (dtype) {
    case DType::kF32:
      return EncodePlain<kSame>(in, out, num_elements);
    case DType::kF16:
      return EncodePlain<F32ToF16>(in, out, num_elements);
    case DType::kBF16:
      return EncodePlain<F32ToBF16>(in, out, num_elements);
    case DType::kQ4_0:
      return EncodeBlocks<EncodeQ4_0>(dtype, in, out, num_elements);
    case DType::kQ4_1:
      return EncodeBlocks<EncodeQ4_1>(dtype, in, out, num_elements);
    case DType::kQ5_0:
      return EncodeBlocks<EncodeQ5_0>(dtype, in, out, num_elements);
    case DType::kQ5_1:
      return EncodeBlocks<EncodeQ5_1>(dtype, in, out, num_elements);
    default:
      return EncodeBlocks<EncodeQ8_0>(dtype, in, out, num_elements);
  }
}

}  // namespace ingot
