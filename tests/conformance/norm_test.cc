// Normalizations against their reference.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>

#include "devices/cpu/cpu_device.h"
#include "harness.h"

namespace ingot::conformance {
namespace {

// Means over 64 lanes and a few roundings of 2^-24 for each element. Measured: 1.5e-7.
constexpr double kTolerance = 5e-7;

Operand Floats(const Shape& shape, uint32_t seed) {
  return RandomOperand(DType::kF32, shape, seed);
}

TEST(NormConformance, LayerAndRmsHoldForWidthsAroundTheLanes) {
  for (int64_t width : {1, 7, 8, 15, 16, 17, 63, 64, 65, 100, 128, 511, 3072}) {
    const Operand x = Floats({2, 5, width}, 1);
    const Operand weight = Floats({width}, 2), bias = Floats({width}, 3);
    const std::string name = Shape({width}).ToString();
    // eps keeps the variance of one element away from 0 / 0.
    ExpectConforms({name, op::LayerNorm{1e-3f}, {x}, kTolerance});
    ExpectConforms({name, op::LayerNorm{1e-3f}, {x, weight, bias}, kTolerance});
    ExpectConforms({name, op::RmsNorm{1e-6f}, {x, weight}, kTolerance});
  }
}

TEST(NormConformance, RowsHoldAcrossThePiecesOfTheThreads) {
  ExpectConforms(
      {"short rows", op::RmsNorm{1e-6f}, {Floats({3000, 24}, 1), Floats({24}, 2)}, kTolerance});
  ExpectConforms({"long rows", op::LayerNorm{1e-6f}, {Floats({3, 20000}, 1)}, kTolerance});
}

TEST(NormConformance, GroupHoldsForSmallAndLargeGroups) {
  for (int64_t size : {1, 3, 16, 90, 200}) {
    ExpectConforms({Shape({size, size + 1}).ToString(),
                    op::GroupNorm{.num_groups = 4, .eps = 1e-3f},
                    {Floats({2, size, size + 1, 12}, 1), Floats({12}, 2), Floats({12}, 3)},
                    kTolerance});
  }
}

TEST(NormConformance, GroupStatsHoldForF32AndF16) {
  for (DType dtype : {DType::kF32, DType::kF16}) {
    for (int64_t size : {1, 31, 33, 90}) {
      const Operand x = RandomOperand(dtype, {2, size, size + 1, 36}, 1);
      ExpectConforms({Shape({size, size + 1}).ToString(),
                      op::GroupNormStats{.num_groups = 6, .eps = 1e-3f},
                      {x},
                      kTolerance,
                      {36, 2}});
      ExpectConforms({Shape({size, size + 1}).ToString(),
                      op::GroupNorm{.num_groups = 6, .eps = 1e-3f},
                      {x, Floats({36}, 2), Floats({36}, 3)},
                      kTolerance,
                      {36, 36, 36, 36}});
    }
  }
}

TEST(NormConformance, GroupStatsOfStripsHaveTheBitsOfTheWholePicture) {
  const auto device = *OpenCpuDevice({.num_threads = 2});
  const Case test = {"stats",
                     op::GroupNormStats{.num_groups = 3, .eps = 1e-6f},
                     {Floats({1, 37, 40, 24}, 1)},
                     kTolerance};
  const Shape shapes[] = {test.inputs[0].shape};
  const DType dtypes[] = {DType::kF32};
  const auto workspace =
      *device->Allocate(device->WorkspaceBytes({&test.op, shapes, dtypes, {1, 3, 2}, DType::kF32}));
  std::vector<float> found(6);
  for (int64_t begin = 0; begin < 37; begin += 8) {
    const Strip strip = {.begin = begin, .picture_rows = 37};
    const ConstTensorView rows[] = {{DType::kF32,
                                     {1, std::min<int64_t>(8, 37 - begin), 40, 24},
                                     test.inputs[0].bytes.data() + begin * 40 * 24 * 4}};
    const TensorView out = {DType::kF32, {1, 3, 2}, reinterpret_cast<std::byte*>(found.data())};
    EXPECT_TRUE(device->Run({&test.op, rows, out, workspace->bytes(), &strip}, {}).ok());
  }
  EXPECT_EQ(found, RunFast(test));
}

// A mean 1000 times the deviation: sums of x^2 would have lost all digits.
TEST(NormConformance, HoldsForALargeMean) {
  Operand x = Floats({1, 100, 100, 4}, 1);
  std::vector<float> values(40000);
  std::memcpy(values.data(), x.bytes.data(), x.bytes.size());
  for (float& value : values) value += 1000.0f;
  std::memcpy(x.bytes.data(), values.data(), x.bytes.size());
  // The mean itself is rounded at 1000 * 2^-24 = 6e-5.
  ExpectConforms({"group",
                  op::GroupNorm{.num_groups = 2, .eps = 1e-6f},
                  {x, Floats({4}, 2), Floats({4}, 3)},
                  2e-4});
  x.shape = {400, 100};
  ExpectConforms({"layer", op::LayerNorm{1e-6f}, {x}, 2e-4});
}

}  // namespace
}  // namespace ingot::conformance
