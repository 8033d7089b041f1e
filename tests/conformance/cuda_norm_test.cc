// Normalizations of the CUDA device against their reference.
#include <gtest/gtest.h>

#include <variant>

#include "cuda_harness.h"
#include "norm_cases.h"

namespace ingot::conformance {
namespace {

// Rows of a warp and of a block, aligned and not, with and without a tail.
TEST(CudaNorm, LayerAndRmsHoldForWidthsAroundTheTeams) {
  for (int64_t width : {1, 3, 4, 127, 128, 130, 1024, 1025, 3072}) {
    for (const Case& test : RowNormCases(width)) ExpectCudaConforms(test);
  }
}

TEST(CudaNorm, HoldsForRunsOfSeveralRows) {
  ExpectCudaConforms({"heads",
                      op::RmsNorm{1e-6f},
                      {Floats({2, 3, 4, 20}, 1), Floats({20}, 2)},
                      kNormTolerance,
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

TEST(CudaNorm, HoldsForALargeMean) {
  for (int64_t width : {100, 1100}) {
    for (const Case& test : LargeMeanCases({1, 2, 2, width}, width)) ExpectCudaConforms(test);
  }
}

TEST(CudaGroupNorm, HoldsForF32AndF16) {
  for (DType dtype : {DType::kF32, DType::kF16}) {
    for (int64_t size : {1, 3, 17}) {
      for (const Case& test : GroupNormCases(dtype, size)) ExpectCudaConforms(test);
    }
  }
}

TEST(CudaGroupNorm, StatsOfStripsHaveTheBitsOfTheWholePicture) {
  const Case test = {"stats",
                     op::GroupNormStats{.num_groups = 3, .eps = 1e-6f},
                     {Floats({1, 19, 10, 24}, 1)},
                     kNormTolerance};
  const std::vector<float> whole = RunCuda(test);
  for (int64_t rows : {1, 8, 16}) EXPECT_EQ(RunCudaInStrips(test, rows), whole) << rows;
}

// More channels than a block has threads.
TEST(CudaGroupNorm, HoldsForManyChannels) {
  const Operand x = Floats({1, 2, 3, 320}, 1);
  ExpectCudaConforms(
      {"stats", op::GroupNormStats{.num_groups = 32, .eps = 1e-6f}, {x}, kNormTolerance, {320, 2}});
}

}  // namespace
}  // namespace ingot::conformance
