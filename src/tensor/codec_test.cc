#include "tensor/codec.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>

#include "base/file.h"
#include "tensor/float_bits.h"

namespace ingot {
namespace {

// A golden of tests/golden/formats/make_codec_goldens.py.
std::string ReadGolden(std::string_view kind, DType dtype) {
  const auto text = ReadSmallFile(
      fmt::format("{}/tests/golden/formats/{}_{}.bin", INGOT_SOURCE_DIR, kind, Name(dtype)));
  EXPECT_TRUE(text.ok()) << text.status().message();
  return text.ok() ? *text : std::string(sizeof(uint32_t), '\0');
}

int64_t NumElements(const std::string& golden, DType dtype) {
  uint32_t num_blocks;
  std::memcpy(&num_blocks, golden.data(), sizeof num_blocks);
  return num_blocks * Info(dtype).block_elements;
}

std::vector<uint32_t> Bits(const float* values, int64_t num_elements) {
  std::vector<uint32_t> bits(static_cast<size_t>(num_elements));
  std::memcpy(bits.data(), values, bits.size() * sizeof(uint32_t));
  return bits;
}

TEST(DequantizeRow, EqualsTheReferenceBitForBitInEveryFloatType) {
  for (int i = 0; i < kNumDTypes; ++i) {
    const auto dtype = static_cast<DType>(i);
    if (dtype == DType::kF32 || dtype == DType::kI64 || dtype == DType::kI32 ||
        dtype == DType::kU8) {
      continue;
    }
    const std::string golden = ReadGolden("codec", dtype);
    const int64_t num_elements = NumElements(golden, dtype);
    const char* blocks = golden.data() + sizeof(uint32_t);
    const char* expected =
        blocks + num_elements / Info(dtype).block_elements * Info(dtype).block_bytes;
    std::vector<float> values(static_cast<size_t>(num_elements));
    DequantizeRow(dtype, reinterpret_cast<const std::byte*>(blocks), values.data(), num_elements);
    EXPECT_GT(num_elements, 200);
    EXPECT_EQ(Bits(values.data(), num_elements),
              Bits(reinterpret_cast<const float*>(expected), num_elements))
        << Name(dtype);
  }
}

TEST(DequantizeRow, GivesIntegersAsFloats) {
  const int64_t wide[] = {-3, 1 << 20};
  float values[2];
  DequantizeRow(DType::kI64, reinterpret_cast<const std::byte*>(wide), values, 2);
  EXPECT_EQ(values[0], -3);
  EXPECT_EQ(values[1], 1 << 20);
}

TEST(QuantizeRow, EqualsTheReferenceBitForBit) {
  for (int i = 0; i < kNumDTypes; ++i) {
    const auto dtype = static_cast<DType>(i);
    if (!CanQuantize(dtype) || dtype == DType::kF32) continue;
    const std::string golden = ReadGolden("encode", dtype);
    const int64_t num_elements = NumElements(golden, dtype);
    const char* values = golden.data() + sizeof(uint32_t);
    const std::string expected =
        golden.substr(sizeof(uint32_t) + static_cast<size_t>(num_elements) * 4);
    std::string blocks(expected.size(), '\0');
    QuantizeRow(dtype, reinterpret_cast<const float*>(values),
                reinterpret_cast<std::byte*>(blocks.data()), num_elements);
    EXPECT_GT(num_elements, 200);
    const auto at = std::mismatch(blocks.begin(), blocks.end(), expected.begin()).first;
    EXPECT_EQ(blocks, expected) << Name(dtype) << " differs first at byte " << at - blocks.begin();
  }
}

TEST(QuantizeRow, SurvivesValuesThatAreNotFinite) {
  float values[32] = {std::numeric_limits<float>::infinity(), NAN, -NAN, 1e38f, -1e38f};
  std::byte block[64];
  for (int i = 0; i < kNumDTypes; ++i) {
    const auto dtype = static_cast<DType>(i);
    if (CanQuantize(dtype) && IsBlockFormat(dtype)) QuantizeRow(dtype, values, block, 32);
  }
}

TEST(FloatBits, EveryF16ComesBackFromF32) {
  for (uint32_t bits = 0; bits < 65536; ++bits) {
    const auto half = static_cast<uint16_t>(bits);
    const float value = F16ToF32(half);
    if (std::isnan(value)) {
      EXPECT_EQ(F32ToF16(value), half | 0x200);  // quiet
    } else {
      EXPECT_EQ(F32ToF16(value), half);
    }
  }
}

TEST(FloatBits, NarrowingRoundsTiesToEvenAndOverflowsToInfinity) {
  EXPECT_EQ(F32ToF16(1 + 0x1p-11f), 0x3C00);      // tie, to even below
  EXPECT_EQ(F32ToF16(1 + 3 * 0x1p-11f), 0x3C02);  // tie, to even above
  EXPECT_EQ(F32ToF16(0x1p-25f), 0x0000);
  EXPECT_EQ(F32ToF16(-0x1.8p-24f), 0x8002);
  EXPECT_EQ(F32ToF16(65519.0f), 0x7BFF);
  EXPECT_EQ(F32ToF16(-65520.0f), 0xFC00);
  EXPECT_EQ(F32ToBF16(1 + 0x1p-8f), 0x3F80);
  EXPECT_EQ(F32ToBF16(1 + 3 * 0x1p-8f), 0x3F82);
  EXPECT_TRUE(std::isnan(F8E4M3ToF32(0x7F)));
  EXPECT_TRUE(std::isinf(F8E5M2ToF32(0x7C)));
}

TEST(FloatBits, NarrowingToE4M3GivesTheNearestOfItsValues) {
  for (uint8_t bits = 0; bits < 0x7E; ++bits) {
    const float value = F8E4M3ToF32(bits), next = F8E4M3ToF32(bits + 1), tie = (value + next) / 2;
    const auto even = static_cast<uint8_t>(bits + bits % 2);
    for (const auto& [x, expected] :
         {std::pair(value, bits), std::pair(std::nextafter(tie, 0.0f), bits), std::pair(tie, even),
          std::pair(std::nextafter(tie, next), static_cast<uint8_t>(bits + 1))}) {
      EXPECT_EQ(F32ToF8E4M3(x), expected) << x;
      EXPECT_EQ(F32ToF8E4M3(-x), expected | 0x80) << x;
    }
  }
  EXPECT_EQ(F32ToF8E4M3(1e9f), 0x7E);
  EXPECT_EQ(F32ToF8E4M3(-std::numeric_limits<float>::infinity()), 0xFE);
  EXPECT_EQ(F32ToF8E4M3(std::numeric_limits<float>::quiet_NaN()) & 0x7F, 0x7F);
}

}  // namespace
}  // namespace ingot
