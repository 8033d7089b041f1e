// Weights as plain numbers on the CUDA device: the bits of tensor/codec.h.
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <vector>

#include "devices/cuda/dequantize.h"
#include "devices/cuda/emulation/emulation.h"
#include "devices/cuda/runtime.h"
#include "harness.h"
#include "tensor/codec.h"
#include "tensor/float_bits.h"

namespace ingot::conformance {
namespace {

constexpr float kScale = 0.375f;

// f(dtype) for every type of weight.
template <class F>
void ForEveryWeightType(const F& f) {
  for (int i = 0; i < kNumDTypes; ++i) {
    const auto dtype = static_cast<DType>(i);
    if (!cuda::IsWeightType(dtype)) continue;
    SCOPED_TRACE(Name(dtype));
    f(dtype);
  }
}

// A weight whose first byte lies at an address that is `offset` beyond a multiple of 64.
class PlacedWeight {
 public:
  PlacedWeight(DType dtype, const Shape& shape, size_t offset)
      : operand_(RandomOperand(dtype, shape, 1)), memory_(operand_.bytes.size() + 128) {
    const size_t address = reinterpret_cast<uintptr_t>(memory_.data());
    data_ = memory_.data() + (64 - address % 64) + offset;
    std::memcpy(data_, operand_.bytes.data(), operand_.bytes.size());
  }
  ConstTensorView view() const { return {operand_.dtype, operand_.shape, data_, kScale}; }
  std::vector<float> Values() const {
    std::vector<float> values(static_cast<size_t>(operand_.shape.num_elements()));
    DequantizeRow(operand_.dtype, operand_.bytes.data(), values.data(),
                  operand_.shape.num_elements());
    for (float& value : values) value *= kScale;
    return values;
  }

 private:
  Operand operand_;
  std::vector<std::byte> memory_;
  std::byte* data_;
};

// Whether both have the same bits.
template <class T>
bool IsSame(const std::vector<T>& a, const std::vector<T>& b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(T)) == 0;
}

class CudaDequantize : public testing::Test {
 protected:
  void SetUp() override { cuda_emulation::ResetGpu({}); }

  // Of a T in a type of its own; one more behind that no kernel may write.
  template <class T>
  std::vector<T> Rows(const ConstTensorView& weight, int64_t begin, int64_t num_rows, DType dtype) {
    const auto size = static_cast<size_t>(num_rows * weight.shape[1]);
    std::vector<T> out(size + 1, T{77});
    cuda::DequantizeRows(weight, begin, num_rows, dtype, out.data(), stream_.get());
    EXPECT_EQ(cudaStreamSynchronize(stream_.get()), cudaSuccess);
    EXPECT_EQ(out.back(), T{77});
    out.pop_back();
    return out;
  }

  cuda::Stream stream_;
};

TEST_F(CudaDequantize, GivesTheBitsOfTheCodecForEveryTypeAtAnyAddress) {
  ForEveryWeightType([&](DType dtype) {
    for (size_t offset : {0, 1, 2, 4}) {
      const PlacedWeight weight(dtype, {5, 512}, offset);
      EXPECT_TRUE(IsSame(Rows<float>(weight.view(), 0, 5, DType::kF32), weight.Values()))
          << "at " << offset;
    }
  });
}

TEST_F(CudaDequantize, RoundsToBF16AndF16Once) {
  ForEveryWeightType([&](DType dtype) {
    const PlacedWeight weight(dtype, {3, 256}, 0);
    std::vector<uint16_t> bf16, f16;
    for (float value : weight.Values()) {
      bf16.push_back(F32ToBF16(value));
      f16.push_back(F32ToF16(value));
    }
    EXPECT_TRUE(IsSame(Rows<uint16_t>(weight.view(), 0, 3, DType::kBF16), bf16));
    EXPECT_TRUE(IsSame(Rows<uint16_t>(weight.view(), 0, 3, DType::kF16), f16));
  });
}

TEST_F(CudaDequantize, RoundsToF16ToTheNearestTiesToEvenAndBeyondItToInfinity) {
  const std::vector<float> values = {2049.0f,  2051.0f,  0x1p-25f, 0x3p-25f,
                                     65504.0f, 65519.0f, 65520.0f, -1e6f};
  const std::vector<uint16_t> expected = {0x6800, 0x6802, 0x0000, 0x0002,
                                          0x7BFF, 0x7BFF, 0x7C00, 0xFC00};
  const ConstTensorView weight = {
      DType::kF32, {1, 8}, reinterpret_cast<const std::byte*>(values.data())};
  EXPECT_EQ(Rows<uint16_t>(weight, 0, 1, DType::kF16), expected);
}

TEST_F(CudaDequantize, EncodesRowsInE4M3TimesAPowerOfTwoOfTheirOwn) {
  constexpr int64_t kRows = 5, kFirst = 1, kNumRows = 3, kNumColumns = 2304;  // more than 128 * 8
  ForEveryWeightType([&](DType dtype) {
    for (size_t offset : {0, 1, 2, 4}) {
      const PlacedWeight weight(dtype, {kRows, kNumColumns}, offset);
      const std::vector<float> values = weight.Values();
      std::vector<uint8_t> expected;
      std::vector<float> expected_factors;
      for (int64_t row = kFirst; row < kFirst + kNumRows; ++row) {
        const float* from = values.data() + row * kNumColumns;
        float largest = 0.0f;
        for (int64_t i = 0; i < kNumColumns; ++i) largest = std::max(largest, std::abs(from[i]));
        const int exponent = 7 - std::ilogb(largest);
        for (int64_t i = 0; i < kNumColumns; ++i) {
          expected.push_back(F32ToF8E4M3(std::ldexp(from[i], exponent)));
        }
        expected_factors.push_back(std::ldexp(1.0f, -exponent));
      }
      alignas(16) std::array<uint8_t, kNumRows * kNumColumns + 1> out;
      out.back() = 77;
      std::vector<float> factors(kNumRows + 1, 77.0f);
      cuda::EncodeRowsInF8(weight.view(), kFirst, kNumRows, out.data(), factors.data(),
                           stream_.get());
      EXPECT_EQ(cudaStreamSynchronize(stream_.get()), cudaSuccess);
      EXPECT_EQ(out.back(), 77);
      EXPECT_EQ(factors.back(), 77.0f);
      factors.pop_back();
      EXPECT_EQ(factors, expected_factors) << "at " << offset;
      EXPECT_EQ(std::memcmp(out.data(), expected.data(), expected.size()), 0) << "at " << offset;
    }
  });
}

TEST_F(CudaDequantize, TakesSomeRowsAndAnyNumberOfColumns) {
  for (DType dtype : {DType::kF32, DType::kF16, DType::kF8E5M2}) {
    SCOPED_TRACE(Name(dtype));
    for (int64_t k : {1, 7, 13}) {
      const PlacedWeight weight(dtype, {9, k}, 0);
      const std::vector<float> all = weight.Values();
      EXPECT_TRUE(IsSame(Rows<float>(weight.view(), 2, 5, DType::kF32),
                         std::vector<float>(all.begin() + 2 * k, all.begin() + 7 * k)))
          << k << " columns";
    }
  }
}

TEST_F(CudaDequantize, WidensEveryValueOfTheNarrowFloats) {
  std::vector<uint16_t> halves(65536);
  for (size_t i = 0; i < halves.size(); ++i) halves[i] = static_cast<uint16_t>(i);
  for (DType dtype : {DType::kF8E4M3, DType::kF8E5M2, DType::kF16, DType::kBF16}) {
    SCOPED_TRACE(Name(dtype));
    const int64_t k = Info(dtype).block_bytes == 1 ? 256 : 65536;
    std::vector<uint8_t> bytes(static_cast<size_t>(k));
    for (size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<uint8_t>(i);
    const auto* data = k == 256 ? reinterpret_cast<const std::byte*>(bytes.data())
                                : reinterpret_cast<const std::byte*>(halves.data());
    std::vector<float> expected(static_cast<size_t>(k));
    DequantizeRow(dtype, data, expected.data(), k);
    const std::vector<float> found = Rows<float>({dtype, {1, k}, data}, 0, 1, DType::kF32);
    for (size_t i = 0; i < expected.size(); ++i) {
      if (std::isnan(expected[i])) {
        EXPECT_TRUE(std::isnan(found[i])) << i;
      } else {
        EXPECT_EQ(std::memcmp(&found[i], &expected[i], sizeof(float)), 0) << i;
      }
    }
  }
}

TEST_F(CudaDequantize, GathersRowsByTheirNumbers) {
  const std::vector<int32_t> ids = {4, 0, -1, 4, 7, 2};
  ForEveryWeightType([&](DType dtype) {
    for (int64_t k : {int64_t{256}, IsBlockFormat(dtype) ? 512 : int64_t{13}}) {
      for (size_t offset : {0, 3}) {
        const PlacedWeight weight(dtype, {7, k}, offset);
        const std::vector<float> all = weight.Values();
        std::vector<float> found(ids.size() * static_cast<size_t>(k));
        cuda::DequantizeRowsOf(weight.view(), ids.data(), static_cast<int64_t>(ids.size()),
                               found.data(), stream_.get());
        ASSERT_EQ(cudaStreamSynchronize(stream_.get()), cudaSuccess);
        for (size_t i = 0; i < ids.size(); ++i) {
          const float* row = found.data() + i * static_cast<size_t>(k);
          if (ids[i] < 0 || ids[i] >= 7) {
            for (int64_t j = 0; j < k; ++j) EXPECT_TRUE(std::isnan(row[j]));
          } else {
            EXPECT_EQ(std::memcmp(row, all.data() + ids[i] * k, static_cast<size_t>(k) * 4), 0)
                << "id " << ids[i] << " of " << k << " columns at " << offset;
          }
        }
      }
    }
  });
}

}  // namespace
}  // namespace ingot::conformance
