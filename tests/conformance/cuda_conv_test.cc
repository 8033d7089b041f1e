// Conv2d of the CUDA device against its reference.
#include <gtest/gtest.h>

#include "conv_cases.h"
#include "cuda_harness.h"

namespace ingot::conformance {
namespace {

using op::Compute;

// f32 sums of up to 600 products, in another order than the reference's.
constexpr double kExactTolerance = 2e-6;
// Both sides rounded to bf16, 2^-8 each at most; over hundreds of products they cancel to a small
// part of the largest output. Measured: 3e-3.
constexpr double kBf16Tolerance = 8e-3;
constexpr double kF16Tolerance = kBf16Tolerance / 8;  // three bits more
// The roundings of x, the residual and the output to 11 bits come on top.
constexpr double kF16PictureTolerance = 1e-3;

// On each GPU that tests can have.
class CudaConv : public testing::TestWithParam<GpuModel> {
 protected:
  static Case MakeCase(const ConvSize& size, const op::Conv2d& op, const ConvTypes& types = {}) {
    Case test = MakeConvCase(size, op, types);
    test.tolerance = op.compute == Compute::kF32       ? kExactTolerance
                     : GetParam() == GpuModel::kTuring ? kF16Tolerance
                                                       : kBf16Tolerance;
    if (types.picture == DType::kF16) test.tolerance += kF16PictureTolerance;
    return test;
  }
  static void ExpectConforms(const Case& test) { ExpectCudaConforms(test, GetParam()); }
  static void ExpectConformsInBoth(const ConvSize& size, op::Conv2d op) {
    for (Compute compute : {Compute::kF32, Compute::kI16}) {
      op.compute = compute;
      ExpectConforms(MakeCase(size, op));
    }
  }
};
INSTANTIATE_TEST_SUITE_P(Gpus, CudaConv, testing::ValuesIn(GpuModels()),
                         [](const auto& gpu) { return Name(gpu.param); });

TEST_P(CudaConv, HoldsForPictureAndKernelSizes) {
  for (int64_t height : {1, 2, 9}) {
    for (int64_t width : {1, 3, 17}) {
      ExpectConformsInBoth({1, 5, height, width, 7, 3}, kSame3x3);
      ExpectConformsInBoth({2, 35, height, width, 7, 1}, {});
    }
  }
}

TEST_P(CudaConv, HoldsForStridesAndPaddings) {
  ExpectConformsInBoth({1, 6, 10, 7, 9, 3}, {.stride = 2, .pad_bottom = 1, .pad_right = 1});
  ExpectConformsInBoth({1, 3, 2, 2, 4, 3}, {.pad_top = 5, .pad_left = 1, .pad_right = 7});
  ExpectConformsInBoth({1, 3, 3, 2, 4, 5},
                       {.stride = 2, .pad_top = 3, .pad_left = 6, .pad_bottom = 4, .pad_right = 2});
}

TEST_P(CudaConv, HoldsWithNormUpsampleAndResidualInF32AndF16) {
  for (DType picture : {DType::kF32, DType::kF16}) {
    for (Compute compute : {Compute::kF32, Compute::kI16}) {
      for (bool upsample : {false, true}) {
        ExpectConforms(
            MakeCase({2, 12, 5, 6, 9, 3}, FusedConv(compute, upsample), {.picture = picture}));
      }
    }
  }
}

TEST_P(CudaConv, HoldsForWeightsAsTheFileHasThem) {
  for (DType weight : {DType::kF32, DType::kF16, DType::kBF16}) {
    Case test = MakeCase({1, 33, 7, 8, 35, 3}, kSame3x3, {.weight = weight});
    Operand& filters = test.inputs[1];
    filters.bytes.insert(filters.bytes.begin(), std::byte{0});
    filters.offset = 1;  // tensors of a file begin at any byte
    filters.scale = 0.5f;
    ExpectConforms(test);
  }
}

TEST_P(CudaConv, HoldsForMorePixelsThanTheWorkspaceTakesAtATime) {
  // 64 MiB of rows of 9 * 9 * 512 floats: 256 pixels at a time.
  const Case test = MakeCase({1, 512, 9, 45, 1, 9},
                             {.pad_top = 4, .pad_left = 4, .pad_bottom = 4, .pad_right = 4});
  EXPECT_LE(RelativeError(RunCuda(test, GetParam()), RunReference(test)),
            1e-5);  // sums of 41472 products
}

TEST_P(CudaConv, StripsGiveTheSameBitsAsTheWholePicture) {
  for (Compute compute : {Compute::kF32, Compute::kI16}) {
    for (bool upsample : {false, true}) {
      const Case test = MakeCase({1, 12, 19, 7, 8, 3}, FusedConv(compute, upsample));
      const std::vector<float> whole = RunCuda(test, GetParam());
      for (int64_t rows : {8, 16})
        EXPECT_EQ(RunCudaInStrips(test, rows, GetParam()), whole) << rows;
    }
  }
}

}  // namespace
}  // namespace ingot::conformance
