// Linear against its reference, for every type of weight.
#include <gtest/gtest.h>

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "devices/cpu/cpu_device.h"
#include "linear_cases.h"

namespace ingot::conformance {
namespace {

// f32 sums of K <= 768 terms: each step rounds by at most 2^-24 of a partial sum, and errors of
// random sign add up to about 2^-24 * sqrt(K) = 1.7e-6. Largest found: 1.6e-6, in Q2_K.
constexpr double kTolerance = 3e-6;

struct Size {
  int64_t rows, features, k;
};

Case MakeCase(const Size& size, DType dtype, bool has_bias, float scale) {
  Case test{.name = fmt::format("{} [{}, {}] x [{}, {}]", Name(dtype), size.rows, size.k,
                                size.features, size.k),
            .op = op::Linear{.has_bias = has_bias},
            .inputs = {RandomOperand(DType::kF32, {size.rows, size.k}, 1),
                       RandomOperand(dtype, {size.features, size.k}, 2)},
            .tolerance = kTolerance};
  test.inputs[1].scale = scale;
  if (has_bias) test.inputs.push_back(RandomOperand(DType::kF32, {size.features}, 3));
  return test;
}

TEST(LinearConformance, HoldsForEveryWeightType) {
  for (int i = 0; i < kNumDTypes; ++i) {
    const DType dtype = static_cast<DType>(i);
    if (dtype == DType::kI64 || dtype == DType::kI32 || dtype == DType::kU8) continue;
    ExpectConforms(MakeCase({7, 70, 768}, dtype, true, 1.0f));
  }
}

TEST(LinearConformance, HoldsForSizesAroundTheTiles) {
  for (int64_t rows : {1, 2, 5, 6, 13, 14, 15, 29}) {
    for (int64_t features : {1, 15, 16, 17, 33, 64, 129}) {
      ExpectConforms(MakeCase({rows, features, 96}, DType::kQ8_0, rows % 2 == 0, 1.0f));
    }
  }
}

TEST(LinearConformance, HoldsForAnyK) {
  for (int64_t k : {1, 3, 255, 256, 257, 511, 513, 767}) {
    ExpectConforms(MakeCase({9, 37, k}, DType::kBF16, false, 1.0f));
  }
}

TEST(LinearConformance, AppliesTheScaleOfAWeight) {
  ExpectConforms(MakeCase({5, 33, 320}, DType::kF8E4M3, true, 0.375f));
}

TEST(LinearConformance, TakesOuterDimensionsAsRows) {
  Case test = MakeCase({12, 20, 64}, DType::kF32, true, 1.0f);
  test.inputs[0].shape = {2, 3, 2, 64};
  ExpectConforms(test);
}

TEST(LinearConformance, GivesARowTheSameBitsWhateverRowsAreBesideIt) {
  const Case all = MakeCase({29, 33, 512}, DType::kQ4_0, true, 1.0f);
  const std::vector<float> expected = RunFast(all);
  std::vector<float> found;
  for (int64_t begin = 0, count = 1; begin < 29; begin += count, count += 2) {
    count = std::min<int64_t>(count, 29 - begin);
    Case part = all;
    part.inputs[0].shape = {count, 512};
    const auto first = all.inputs[0].bytes.begin() + begin * 512 * 4;
    part.inputs[0].bytes.assign(first, first + count * 512 * 4);
    const std::vector<float> rows = RunFast(part);
    found.insert(found.end(), rows.begin(), rows.end());
  }
  EXPECT_EQ(found, expected);
}

TEST(LinearConformance, GivesRowsOfManyTheBitsOfOneRowForEveryWeightType) {
  for (int i = 0; i < kNumDTypes; ++i) {
    if (!IsBlockFormat(static_cast<DType>(i))) continue;
    const Case all = MakeCase({50, 40, 768}, static_cast<DType>(i), true, 1.0f);
    Case one = all;
    one.inputs[0].shape = {1, 768};
    one.inputs[0].bytes.assign(all.inputs[0].bytes.begin() + 49 * 768 * 4,
                               all.inputs[0].bytes.end());
    const std::vector<float> rows = RunFast(all);
    EXPECT_EQ(RunFast(one), std::vector<float>(rows.end() - 40, rows.end())) << all.name;
  }
}

TEST(LinearConformance, HoldsForEveryPrologueAndEpilogue) {
  ForEveryFusion([](op::Prologue prologue, op::Epilogue epilogue) {
    // More rows than pass a panel together.
    Case test =
        MakeFusedLinearCase(op::Compute::kF32, {2, 270, 70, 300}, DType::kF16, prologue, epilogue);
    test.tolerance = kTolerance;
    ExpectConforms(test);
  });
}

TEST(LinearConformance, TakesRowsInRunsAndWritesOverTheResidual) {
  ForEveryFusion([](op::Prologue prologue, op::Epilogue epilogue) {
    ExpectSameInRuns(
        MakeFusedLinearCase(op::Compute::kF32, {2, 7, 70, 320}, DType::kQ8_0, prologue, epilogue));
  });
}

TEST(LinearConformance, IsNotTakenInF8) {
  const op::Op op = op::Linear{.compute = op::Compute::kF8};
  const std::array<Shape, 2> shapes = {Shape{32, 64}, Shape{48, 64}};
  const std::array<DType, 2> dtypes = {DType::kF32, DType::kF32};
  const OpSignature signature{&op, shapes, dtypes, {32, 48}, DType::kF32};
  EXPECT_EQ((*OpenCpuDevice({}))->Supports(signature).code(), StatusCode::kUnsupported);
}

}  // namespace
}  // namespace ingot::conformance
