// Linear in 16-bit integers against its reference.
#include <gtest/gtest.h>

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "devices/cpu/linear_int16.h"
#include "linear_cases.h"

namespace ingot::conformance {
namespace {

// Rounding errs by 1.0e-4 of the norm of each side, whatever their data: by 1.4e-4 of the root mean
// square of the output. The largest of some hundred errors is three times that, over a largest
// output of three times its own.
constexpr double kTolerance = 2.5e-4;

Case MakeCase(int64_t rows, int64_t features, int64_t k, DType dtype) {
  Case test = MakeLinearCase(op::Compute::kI16, {1, rows, features, k}, dtype);
  test.tolerance = kTolerance;
  return test;
}

TEST(LinearInt16Conformance, HoldsForEveryWeightType) {
  for (int i = 0; i < kNumDTypes; ++i) {
    const DType dtype = static_cast<DType>(i);
    if (dtype == DType::kI64 || dtype == DType::kI32 || dtype == DType::kU8) continue;
    ExpectConforms(MakeCase(37, 70, 768, dtype));
  }
}

TEST(LinearInt16Conformance, HoldsForSizesAroundTheTilesAndPanels) {
  for (int64_t rows : {32, 33, 35, 36, 37, 383, 384, 385, 391}) {
    for (int64_t features : {1, 15, 16, 17, 63, 64, 65, 129}) {
      ExpectConforms(MakeCase(rows, features, 96, DType::kQ8_0));
    }
  }
}

TEST(LinearInt16Conformance, HoldsForAnyK) {
  for (DType dtype : {DType::kF32, DType::kF16, DType::kBF16, DType::kF8E4M3, DType::kF8E5M2}) {
    for (int64_t k : {1, 3, 31, 32, 33, 255, 256, 257, 511, 513, 767}) {
      ExpectConforms(MakeCase(41, 37, k, dtype));
    }
  }
}

TEST(LinearInt16Conformance, HoldsForRowsOfSeveralGroups) {
  ExpectConforms(MakeCase(301, 5, 49152, DType::kQ4_0));  // 276 rows a group
}

TEST(LinearInt16Conformance, AppliesTheScaleOfAWeight) {
  Case test = MakeCase(40, 33, 320, DType::kF8E4M3);
  test.inputs[1].scale = -0.375f;
  ExpectConforms(test);
}

TEST(LinearInt16Conformance, TakesWeightsAtAnyAddress) {
  for (DType dtype : {DType::kF32, DType::kF16, DType::kBF16}) {
    Case test = MakeCase(32, 20, 300, dtype);
    const std::vector<float> expected = RunFast(test);
    Operand& weight = test.inputs[1];
    weight.bytes.insert(weight.bytes.begin(), std::byte{0x55});
    weight.offset = 1;
    EXPECT_EQ(RunFast(test), expected) << Name(dtype);
  }
}

TEST(LinearInt16Conformance, GivesRowsTheSameBitsWhenCutAtTheGrid) {
  const Case all = MakeCase(600, 33, 512, DType::kF16);
  const std::vector<float> expected = RunFast(all);
  std::vector<float> found;
  for (int64_t begin = 0; begin < 600; begin += 256) {
    const std::vector<float> rows =
        RunFast(RowsOfPicture(all, 0, begin, std::min<int64_t>(256, 600 - begin)));
    found.insert(found.end(), rows.begin(), rows.end());
  }
  EXPECT_EQ(found, expected);
}

TEST(LinearInt16Conformance, MakesRowsWithNanOrInfinityNanAndNoOthers) {
  Case test = MakeCase(64, 70, 600, DType::kBF16);
  const std::vector<float> clean = RunFast(test);
  Values(test.inputs[0])[3 * 600 + 599] = std::numeric_limits<float>::infinity();
  Values(test.inputs[0])[9 * 600 + 256] = -std::numeric_limits<float>::infinity();
  Values(test.inputs[0])[50 * 600] = std::numeric_limits<float>::quiet_NaN();
  const std::vector<float> found = RunFast(test);
  for (size_t i = 0; i < found.size(); ++i) {
    const size_t row = i / 70;
    if (row == 3 || row == 9 || row == 50) {
      ASSERT_TRUE(std::isnan(found[i])) << i;
    } else {
      ASSERT_EQ(found[i], clean[i]) << i;
    }
  }
}

TEST(LinearInt16Conformance, MakesFeaturesOfNanWeightsNanAndNoOthers) {
  Case test = MakeCase(40, 70, 512, DType::kF8E4M3);
  const std::vector<float> clean = RunFast(test);
  test.inputs[1].bytes[17 * 512 + 300] = std::byte{0xFF};
  const std::vector<float> found = RunFast(test);
  for (size_t i = 0; i < found.size(); ++i) {
    if (i % 70 == 17) {
      ASSERT_TRUE(std::isnan(found[i])) << i;
    } else {
      ASSERT_EQ(found[i], clean[i]) << i;
    }
  }
}

// Sums of products are largest where x and weights are parallel, their scales least where a few
// values of a block are far larger than the others.
TEST(LinearInt16Conformance, NeverOverflows) {
  for (int64_t large : {0, 1, 2, 16, 17, 128, 256}) {
    Case test = MakeCase(64, 64, 768, DType::kF32);
    float* x = Values(test.inputs[0]);
    for (int64_t i = 0; large > 0 && i < 64 * 768; ++i) x[i] = i % 256 < large ? 1.0f : 1e-3f;
    test.inputs[1].bytes = test.inputs[0].bytes;
    test.name += fmt::format(", {} large of 256", large);
    ExpectConforms(test);
  }
}

TEST(LinearInt16Conformance, ErrsNoMoreWithOutliers) {
  Case test = MakeCase(40, 70, 1024, DType::kF16);
  for (int64_t i = 0; i < 40 * 1024; i += 128) Values(test.inputs[0])[i] *= 50.0f;
  ExpectConforms(test);
}

TEST(LinearInt16Conformance, HoldsFromTheLeastToTheGreatestMagnitudes) {
  for (float x_factor : {0.0f, 1e-45f, 1e-30f, 1e25f, 3e38f}) {
    for (float w_factor : {0.0f, 1e-12f, 1.0f, 1e6f}) {
      if (x_factor > 1.0f && w_factor >= 1.0f && x_factor > 1e30f) continue;  // sums overflow f32
      Case test = MakeCase(32, 16, 256, DType::kF32);
      test.op = op::Linear{.compute = op::Compute::kI16};
      test.inputs.pop_back();
      for (int64_t i = 0; i < 32 * 256; ++i) Values(test.inputs[0])[i] *= x_factor;
      for (int64_t i = 0; i < 16 * 256; ++i) Values(test.inputs[1])[i] *= w_factor;
      test.name += fmt::format(", x times {}, weight times {}", x_factor, w_factor);
      // Values below 2^-112 are 0: nothing of such an x is left to compare.
      if (x_factor > 0.0f && x_factor < 1e-40f) test.tolerance = 1.0;
      ExpectConforms(test);
    }
  }
}

TEST(LinearInt16Conformance, HoldsForEveryPrologueAndEpilogue) {
  ForEveryFusion([](op::Prologue prologue, op::Epilogue epilogue) {
    Case test =
        MakeFusedLinearCase(op::Compute::kI16, {2, 37, 70, 300}, DType::kF16, prologue, epilogue);
    test.tolerance = kTolerance;
    ExpectConforms(test);
  });
}

TEST(LinearInt16Conformance, TakesRowsInRunsAndWritesOverTheResidual) {
  ForEveryFusion([](op::Prologue prologue, op::Epilogue epilogue) {
    ExpectSameInRuns(
        MakeFusedLinearCase(op::Compute::kI16, {2, 37, 70, 300}, DType::kF32, prologue, epilogue));
  });
}

// A call may have a part of the rows that the workspace was made for.
TEST(LinearInt16Conformance, NeedsNoMoreWorkspaceForFewerRows) {
  for (size_t k : {64, 3072, 15360}) {
    int64_t last = 0;
    for (size_t rows = 1; rows < 9000; rows += 37) {
      const int64_t num_bytes = cpu::LinearInt16WorkspaceBytes(rows, k, 2);
      EXPECT_GE(num_bytes, last) << rows << " rows, K " << k;
      last = num_bytes;
    }
  }
}

TEST(LinearInt16Conformance, BoundsItsWorkspaceByPanelsAnd27MiB) {
  for (size_t k : {3072, 12288, 15360}) {
    for (size_t threads : {1, 8}) {
      const size_t panels = threads * (k * 128 + (256 << 10));
      EXPECT_LE(cpu::LinearInt16WorkspaceBytes(16384, k, threads),
                static_cast<int64_t>(panels + (27 << 20)));
    }
  }
}

}  // namespace
}  // namespace ingot::conformance
