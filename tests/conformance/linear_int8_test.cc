// Linear in 8-bit integers against its reference.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <random>
#include <set>
#include <stop_token>

#include "devices/cpu/cpu_device.h"
#include "linear_cases.h"

namespace ingot::conformance {
namespace {

// Both sides are rounded by at most 1/254 of their largest value in 256, and the errors of random
// data add up as its products do: 0.7 % to 1.0 % of the root mean square of the output. The largest
// of some hundred errors is three times that, over a largest output of three times its own.
constexpr double kTolerance = 1.5e-2;

Case MakeCase(const LinearSize& size, DType dtype) {
  Case test = MakeLinearCase(op::Compute::kI8, size, dtype);
  test.tolerance = kTolerance;
  return test;
}

std::vector<float> Concatenate(const std::vector<std::vector<float>>& parts) {
  std::vector<float> all;
  for (const std::vector<float>& part : parts) all.insert(all.end(), part.begin(), part.end());
  return all;
}

// Normal x, `num_outliers` channels of it 20 times larger.
void MakeNormal(Case& test, int num_outliers) {
  std::mt19937 random(5);
  std::normal_distribution<float> normal;
  Operand& x = test.inputs[0];
  const auto k = static_cast<size_t>(x.shape.back());
  std::set<size_t> outliers;
  while (outliers.size() < static_cast<size_t>(num_outliers)) outliers.insert(random() % k);
  for (size_t i = 0; i < static_cast<size_t>(x.shape.num_elements()); ++i) {
    Values(x)[i] = normal(random) * (outliers.contains(i % k) ? 20.0f : 1.0f);
  }
}

// Root of the sum of squared errors over that of the reference without bias.
double RootMeanSquareError(Case test) {
  std::get<op::Linear>(test.op).has_bias = false;
  test.inputs.pop_back();
  const std::vector<float> found = RunFast(test);
  std::get<op::Linear>(test.op).compute = op::Compute::kF32;
  return RelativeRms(found, RunFast(test));
}

TEST(LinearInt8Conformance, HoldsForEveryWeightType) {
  for (int i = 0; i < kNumDTypes; ++i) {
    const DType dtype = static_cast<DType>(i);
    if (dtype == DType::kI64 || dtype == DType::kI32 || dtype == DType::kU8) continue;
    ExpectConforms(MakeCase({1, 37, 70, 768}, dtype));
  }
}

TEST(LinearInt8Conformance, ErrsByAtMostOnePointOnePercentWithAndWithoutOutliers) {
  for (int i = 0; i < kNumDTypes; ++i) {
    const DType dtype = static_cast<DType>(i);
    if (!IsBlockFormat(dtype)) continue;
    for (int num_outliers : {0, 8}) {
      Case test = MakeCase({1, 256, 96, 3072}, dtype);
      MakeNormal(test, num_outliers);
      EXPECT_LE(RootMeanSquareError(test), 1.1e-2) << test.name << ", outliers " << num_outliers;
    }
  }
}

TEST(LinearInt8Conformance, HoldsForAnyNumberOfRows) {
  for (int64_t rows : {1, 5, 31, 32, 255, 256, 257, 700}) {
    ExpectConforms(MakeCase({1, rows, 70, 512}, DType::kQ4_0));
  }
}

TEST(LinearInt8Conformance, HoldsForAnyNumberOfFeatures) {
  for (int64_t features : {1, 15, 16, 17, 33, 63, 64, 65, 129}) {
    ExpectConforms(MakeCase({1, 40, features, 512}, DType::kQ8_0));
  }
}

// With tiles one and two threads then take two panels at a time, of which the last may lack; five
// take one.
TEST(LinearInt8Conformance, HoldsForSoManyFeaturesThatPanelsAreTakenInPairs) {
  for (int64_t features : {1024 + 46, 1024 + 66}) {
    Case test = MakeCase({1, 300, features, 512}, DType::kQ4_0);
    MakeNormal(test, 4);
    ExpectConforms(test);
  }
}

TEST(LinearInt8Conformance, HoldsForAnyK) {
  for (int64_t k : {32, 64, 96, 224, 256, 288, 480, 736}) {
    ExpectConforms(MakeCase({1, 41, 67, k}, DType::kQ5_1));
  }
  for (int64_t k : {1, 3, 31, 33, 255, 257}) ExpectConforms(MakeCase({1, 41, 67, k}, DType::kF16));
}

TEST(LinearInt8Conformance, HoldsForEveryPrologueAndEpilogue) {
  ForEveryFusion([](op::Prologue prologue, op::Epilogue epilogue) {
    Case test =
        MakeFusedLinearCase(op::Compute::kI8, {2, 270, 70, 576}, DType::kQ5_0, prologue, epilogue);
    test.tolerance = kTolerance;
    ExpectConforms(test);
  });
}

TEST(LinearInt8Conformance, TakesRowsInRunsAndWritesOverTheResidual) {
  ForEveryFusion([](op::Prologue prologue, op::Epilogue epilogue) {
    ExpectSameInRuns(
        MakeFusedLinearCase(op::Compute::kI8, {2, 70, 70, 576}, DType::kQ4_1, prologue, epilogue));
  });
}

TEST(LinearInt8Conformance, TakesWeightsAtAnyAddress) {
  for (DType dtype : {DType::kQ4_0, DType::kQ6_K, DType::kF16}) {
    Case test = MakeCase({1, 32, 20, 512}, dtype);
    const std::vector<float> expected = RunFast(test);
    Operand& weight = test.inputs[1];
    weight.bytes.insert(weight.bytes.begin(), std::byte{0x55});
    weight.offset = 1;
    EXPECT_EQ(RunFast(test), expected) << Name(dtype);
  }
}

TEST(LinearInt8Conformance, AppliesTheScaleOfAWeight) {
  for (DType dtype : {DType::kF8E4M3, DType::kQ4_0}) {
    Case test = MakeCase({1, 40, 33, 320}, dtype);
    test.inputs[1].scale = -0.375f;
    ExpectConforms(test);
  }
}

TEST(LinearInt8Conformance, GivesRowsTheSameBitsWhenCutAtTheGrid) {
  Case all = MakeCase({1, 700, 70, 768}, DType::kQ4_K);
  MakeNormal(all, 8);
  const std::vector<float> expected = RunFast(all);
  EXPECT_EQ(Concatenate(
                {RunFast(RowsOfPicture(all, 0, 0, 256)), RunFast(RowsOfPicture(all, 0, 256, 444))}),
            expected);
  EXPECT_EQ(Concatenate(
                {RunFast(RowsOfPicture(all, 0, 0, 512)), RunFast(RowsOfPicture(all, 0, 512, 188))}),
            expected);
}

TEST(LinearInt8Conformance, GivesAPictureTheSameBitsInABatch) {
  Case batch = MakeCase({3, 300, 70, 512}, DType::kQ4_0);
  MakeNormal(batch, 8);
  EXPECT_EQ(Concatenate({RunFast(RowsOfPicture(batch, 0, 0, 300)),
                         RunFast(RowsOfPicture(batch, 1, 0, 300)),
                         RunFast(RowsOfPicture(batch, 2, 0, 300))}),
            RunFast(batch));
}

TEST(LinearInt8Conformance, MakesRowsWithNanOrInfinityNanAndNoOthers) {
  Case test = MakeCase({1, 64, 70, 768}, DType::kQ4_0);
  const std::vector<float> clean = RunFast(test);
  Values(test.inputs[0])[3 * 768 + 767] = std::numeric_limits<float>::infinity();
  Values(test.inputs[0])[9 * 768 + 256] = -std::numeric_limits<float>::infinity();
  Values(test.inputs[0])[50 * 768] = std::numeric_limits<float>::quiet_NaN();
  const std::vector<float> found = RunFast(test);
  double error = 0.0;
  for (size_t i = 0; i < found.size(); ++i) {
    const size_t row = i / 70;
    if (row == 3 || row == 9 || row == 50) {
      ASSERT_TRUE(std::isnan(found[i])) << i;
    } else {  // their channels are outliers of the group now: other bits
      error = std::max(error, std::abs(static_cast<double>(found[i]) - clean[i]));
    }
  }
  EXPECT_LE(error, 1.0);  // of outputs up to 30
}

TEST(LinearInt8Conformance, MakesFeaturesOfNanWeightsNanAndNoOthers) {
  for (size_t block : {0, 7}) {
    Case test = MakeCase({1, 40, 70, 512}, DType::kQ8_0);
    const std::vector<float> clean = RunFast(test);
    test.inputs[1].bytes[(17 * 16 + block) * 34 + 1] = std::byte{0x7E};
    const std::vector<float> found = RunFast(test);
    for (size_t i = 0; i < found.size(); ++i) {
      if (i % 70 == 17) {
        ASSERT_TRUE(std::isnan(found[i])) << i;
      } else {
        ASSERT_EQ(found[i], clean[i]) << i;
      }
    }
  }
}

TEST(LinearInt8Conformance, HoldsFromTheLeastToTheGreatestMagnitudes) {
  for (float factor : {0.0f, 1e-45f, 1e-25f, 1e25f, 1e36f}) {
    Case test = MakeCase({1, 32, 16, 256}, DType::kQ8_0);
    std::get<op::Linear>(test.op).has_bias = false;
    test.inputs.pop_back();
    for (int64_t i = 0; i < 32 * 256; ++i) Values(test.inputs[0])[i] *= factor;
    // Blocks below 1e-30 are 0: nothing of such an x is left to compare.
    if (factor > 0.0f && factor < 1e-40f) test.tolerance = 1.0;
    ExpectConforms(test);
  }
}

// The largest sums of products: all of a block equal in magnitude.
TEST(LinearInt8Conformance, NeverOverflows) {
  for (float sign : {1.0f, -1.0f}) {
    Case test = MakeCase({1, 32, 64, 512}, DType::kF32);
    std::fill_n(Values(test.inputs[0]), 32 * 512, 1.0f);
    std::fill_n(Values(test.inputs[1]), 64 * 512, sign);
    ExpectConforms(test);
  }
}

TEST(LinearInt8Conformance, SaysThatItWasCancelled) {
  const auto device = *OpenCpuDevice({.num_threads = 2, .target = {}});
  Case test = MakeCase({1, 300, 70, 512}, DType::kQ4_0);
  std::vector<float> out(300 * 70);
  std::vector<Shape> shapes;
  std::vector<DType> dtypes;
  std::vector<ConstTensorView> views;
  for (const Operand& input : test.inputs) {
    shapes.push_back(input.shape);
    dtypes.push_back(input.dtype);
    views.push_back({input.dtype, input.shape, input.bytes.data(), input.scale});
  }
  const Shape shape = {1, 300, 70};
  const OpSignature signature{&test.op, shapes, dtypes, shape, DType::kF32};
  const auto workspace = *device->Allocate(device->WorkspaceBytes(signature));
  std::stop_source stop;
  stop.request_stop();
  const TensorView output{DType::kF32, shape, reinterpret_cast<std::byte*>(out.data())};
  const Status status =
      device->Run({&test.op, views, output, workspace->bytes()}, stop.get_token());
  EXPECT_EQ(status.code(), StatusCode::kCancelled);
}

}  // namespace
}  // namespace ingot::conformance
