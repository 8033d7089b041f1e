// Normalizations against their reference.
#include <gtest/gtest.h>

#include <algorithm>

#include "devices/cpu/cpu_device.h"
#include "norm_cases.h"

namespace ingot::conformance {
namespace {

TEST(NormConformance, LayerAndRmsHoldForWidthsAroundTheLanes) {
  for (int64_t width : {1, 7, 8, 15, 16, 17, 63, 64, 65, 100, 128, 511, 3072}) {
    for (const Case& test : RowNormCases(width)) ExpectConforms(test);
  }
}

TEST(NormConformance, RowsHoldAcrossThePiecesOfTheThreads) {
  ExpectConforms(
      {"short rows", op::RmsNorm{1e-6f}, {Floats({3000, 24}, 1), Floats({24}, 2)}, kNormTolerance});
  ExpectConforms({"long rows", op::LayerNorm{1e-6f}, {Floats({3, 20000}, 1)}, kNormTolerance});
}

TEST(NormConformance, GroupHoldsForSmallAndLargeGroups) {
  for (int64_t size : {1, 3, 16, 90, 200}) {
    ExpectConforms({Shape({size, size + 1}).ToString(),
                    op::GroupNorm{.num_groups = 4, .eps = 1e-3f},
                    {Floats({2, size, size + 1, 12}, 1), Floats({12}, 2), Floats({12}, 3)},
                    kNormTolerance});
  }
}

TEST(NormConformance, GroupStatsHoldForF32AndF16) {
  for (DType dtype : {DType::kF32, DType::kF16}) {
    for (int64_t size : {1, 31, 33, 90}) {
      for (const Case& test : GroupNormCases(dtype, size)) ExpectConforms(test);
    }
  }
}

TEST(NormConformance, GroupStatsOfStripsHaveTheBitsOfTheWholePicture) {
  const auto device = *OpenCpuDevice({.num_threads = 2});
  const Case test = {"stats",
                     op::GroupNormStats{.num_groups = 3, .eps = 1e-6f},
                     {Floats({1, 37, 40, 24}, 1)},
                     kNormTolerance};
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

TEST(NormConformance, HoldsForALargeMean) {
  for (const Case& test : LargeMeanCases({1, 100, 100, 4}, 100)) ExpectConforms(test);
}

}  // namespace
}  // namespace ingot::conformance
