// Normalizations of the CUDA device against their reference.
#include <gtest/gtest.h>

#include <cstring>
#include <variant>

#include "cuda_harness.h"

namespace ingot::conformance {
namespace {

// A few roundings of 2^-24 for each element, and those of the sums: group norm's are in double, a
// row's in f32 over at most 32 elements a thread before the tree.
constexpr double kTolerance = 5e-7;

Operand Floats(const Shape& shape, uint32_t seed) {
  return RandomOperand(DType::kF32, shape, seed);
}

// Rows of a warp and of a block, aligned and not, with and without a tail.
TEST(CudaNorm, LayerAndRmsHoldForWidthsAroundTheTeams) {
  for (int64_t width : {1, 3, 4, 127, 128, 130, 1024, 1025, 3072}) {
    const Operand x = Floats({2, 5, width}, 1);
    const Operand weight = Floats({width}, 2), bias = Floats({width}, 3);
    const std::string name = Shape({width}).ToString();
    // eps keeps the variance of one element away from 0 / 0.
    ExpectCudaConforms({name, op::LayerNorm{1e-3f}, {x}, kTolerance, {width, width}});
    ExpectCudaConforms(
        {name, op::LayerNorm{1e-3f}, {x, weight, bias}, kTolerance, {width, width, width, width}});
    ExpectCudaConforms({name, op::RmsNorm{1e-6f}, {x, weight}, kTolerance, {width, width, width}});
  }
}

TEST(CudaNorm, HoldsForRunsOfSeveralRows) {
  ExpectCudaConforms({"heads",
                      op::RmsNorm{1e-6f},
                      {Floats({2, 3, 4, 20}, 1), Floats({20}, 2)},
                      kTolerance,
                      {80, 20, 80}});
}

TEST(CudaNorm, ARowHasTheSameBitsAloneAsAmongOthers) {
  for (int64_t width : {100, 1100}) {
    const Operand x = Floats({3, width}, 1), weight = Floats({width}, 2);
    Operand last = x;
    last.shape = {1, width};
    last.offset = static_cast<size_t>(2 * width) * sizeof(float);
    for (const op::Op& op : {op::Op(op::LayerNorm{1e-6f}), op::Op(op::RmsNorm{1e-6f})}) {
      const bool is_layer = std::holds_alternative<op::LayerNorm>(op);
      const auto run = [&](const Operand& rows) {
        return is_layer ? RunCuda({"", op, {rows}}) : RunCuda({"", op, {rows, weight}});
      };
      const std::vector<float> all = run(x);
      EXPECT_EQ(run(last), std::vector<float>(all.end() - width, all.end()));
    }
  }
}

// A mean 1000 times the deviation: sums of x^2 would have lost all digits.
TEST(CudaNorm, HoldsForALargeMean) {
  for (int64_t width : {100, 1100}) {
    Operand x = Floats({4, width}, 1);
    std::vector<float> values(static_cast<size_t>(4 * width));
    std::memcpy(values.data(), x.bytes.data(), x.bytes.size());
    for (float& value : values) value += 1000.0f;
    std::memcpy(x.bytes.data(), values.data(), x.bytes.size());
    // The mean itself is rounded at 1000 * 2^-24 = 6e-5.
    ExpectCudaConforms({"layer", op::LayerNorm{1e-6f}, {x}, 2e-4});
    x.shape = {1, 2, 2, width};
    ExpectCudaConforms({"group",
                        op::GroupNorm{.num_groups = 2, .eps = 1e-6f},
                        {x, Floats({width}, 2), Floats({width}, 3)},
                        2e-4});
  }
}

TEST(CudaGroupNorm, HoldsForF32AndF16) {
  for (DType dtype : {DType::kF32, DType::kF16}) {
    for (int64_t size : {1, 3, 17}) {
      const Operand x = RandomOperand(dtype, {2, size, size + 1, 36}, 1);
      ExpectCudaConforms({x.shape.ToString(),
                          op::GroupNormStats{.num_groups = 6, .eps = 1e-3f},
                          {x},
                          kTolerance,
                          {36, 2}});
      ExpectCudaConforms({x.shape.ToString(),
                          op::GroupNorm{.num_groups = 6, .eps = 1e-3f},
                          {x, Floats({36}, 2), Floats({36}, 3)},
                          kTolerance,
                          {36, 36, 36, 36}});
    }
  }
}

TEST(CudaGroupNorm, StatsOfStripsHaveTheBitsOfTheWholePicture) {
  const Case test = {"stats",
                     op::GroupNormStats{.num_groups = 3, .eps = 1e-6f},
                     {Floats({1, 19, 10, 24}, 1)},
                     kTolerance};
  const std::vector<float> whole = RunCuda(test);
  for (int64_t rows : {1, 8, 16}) EXPECT_EQ(RunCudaInStrips(test, rows), whole) << rows;
}

// More channels than a block has threads.
TEST(CudaGroupNorm, HoldsForManyChannels) {
  const Operand x = Floats({1, 2, 3, 320}, 1);
  ExpectCudaConforms(
      {"stats", op::GroupNormStats{.num_groups = 32, .eps = 1e-6f}, {x}, kTolerance, {320, 2}});
}

}  // namespace
}  // namespace ingot::conformance
