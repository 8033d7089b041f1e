// Conv2d of the CUDA device against its reference.
#include <gtest/gtest.h>

#include <fmt/format.h>

#include "cuda_harness.h"

namespace ingot::conformance {
namespace {

using op::Compute;

// f32 sums of up to 600 products, in another order than the reference's.
constexpr double kExactTolerance = 2e-6;
// Both sides rounded to bf16, 2^-9 each at most; over hundreds of products they cancel to a small
// part of the largest output. Measured: 3e-3.
constexpr double kBf16Tolerance = 8e-3;
// The roundings of x, the residual and the output to 11 bits come on top.
constexpr double kF16Tolerance = 1e-3;

struct Size {
  int64_t batch, channels, height, width, filters, kernel;
};

struct Types {
  DType picture = DType::kF32;
  DType weight = DType::kF32;
};

Case MakeCase(const Size& s, const op::Conv2d& op, const Types& types = {}) {
  const Shape x = {s.batch, s.height, s.width, s.channels};
  Case test{.name = fmt::format("{}, {} filters of {}: {} {}", x.ToString(), s.filters, s.kernel,
                                op::DescribeAttributes(op), Name(types.picture)),
            .op = op,
            .tolerance = op.compute == Compute::kF32 ? kExactTolerance : kBf16Tolerance,
            .row_elements = {},
            .output_dtype = types.picture};
  if (types.picture == DType::kF16) test.tolerance += kF16Tolerance;
  std::vector<Shape> shapes;
  const auto add = [&](DType dtype, const Shape& shape) {
    shapes.push_back(shape);
    test.inputs.push_back(
        RandomOperand(dtype, shape, static_cast<uint32_t>(test.inputs.size() + 1)));
  };
  add(types.picture, x);
  if (op.norm_silu) {
    add(DType::kF32, {s.batch, 4, 2});
    add(DType::kF32, {s.channels});
    add(DType::kF32, {s.channels});
  }
  add(types.weight, {s.filters, s.channels, s.kernel, s.kernel});
  if (op.has_bias) add(DType::kF32, {s.filters});
  if (op.residual) {
    op::Conv2d plain = op;
    plain.residual = false;
    add(types.picture, op::InferShape(plain, shapes));
  }
  for (const Shape& shape : shapes) test.row_elements.push_back(shape.back());
  test.row_elements.push_back(s.filters);
  return test;
}

void ExpectConformsInBoth(const Size& size, op::Conv2d op) {
  for (Compute compute : {Compute::kF32, Compute::kI16}) {
    op.compute = compute;
    ExpectCudaConforms(MakeCase(size, op));
  }
}

constexpr op::Conv2d kSame3x3{
    .pad_top = 1, .pad_left = 1, .pad_bottom = 1, .pad_right = 1, .has_bias = true};

op::Conv2d Fused(Compute compute, bool upsample) {
  op::Conv2d op = kSame3x3;
  op.compute = compute;
  op.norm_silu = op.residual = true;
  op.upsample = upsample;
  return op;
}

TEST(CudaConv, HoldsForPictureAndKernelSizes) {
  for (int64_t height : {1, 2, 9}) {
    for (int64_t width : {1, 3, 17}) {
      ExpectConformsInBoth({1, 5, height, width, 7, 3}, kSame3x3);
      ExpectConformsInBoth({2, 35, height, width, 7, 1}, {});
    }
  }
}

TEST(CudaConv, HoldsForStridesAndPaddings) {
  ExpectConformsInBoth({1, 6, 10, 7, 9, 3}, {.stride = 2, .pad_bottom = 1, .pad_right = 1});
  ExpectConformsInBoth({1, 3, 2, 2, 4, 3}, {.pad_top = 5, .pad_left = 1, .pad_right = 7});
  ExpectConformsInBoth({1, 3, 3, 2, 4, 5},
                       {.stride = 2, .pad_top = 3, .pad_left = 6, .pad_bottom = 4, .pad_right = 2});
}

TEST(CudaConv, HoldsWithNormUpsampleAndResidualInF32AndF16) {
  for (DType picture : {DType::kF32, DType::kF16}) {
    for (Compute compute : {Compute::kF32, Compute::kI16}) {
      for (bool upsample : {false, true}) {
        ExpectCudaConforms(
            MakeCase({2, 12, 5, 6, 9, 3}, Fused(compute, upsample), {.picture = picture}));
      }
    }
  }
}

TEST(CudaConv, HoldsForWeightsAsTheFileHasThem) {
  for (DType weight : {DType::kF32, DType::kF16, DType::kBF16}) {
    Case test = MakeCase({1, 33, 7, 8, 35, 3}, kSame3x3, {.weight = weight});
    Operand& filters = test.inputs[1];
    filters.bytes.insert(filters.bytes.begin(), std::byte{0});
    filters.offset = 1;  // tensors of a file begin at any byte
    filters.scale = 0.5f;
    ExpectCudaConforms(test);
  }
}

TEST(CudaConv, HoldsForMorePixelsThanTheWorkspaceTakesAtATime) {
  // 64 MiB of rows of 9 * 9 * 512 floats: 256 pixels at a time.
  const Case test = MakeCase({1, 512, 9, 45, 1, 9},
                             {.pad_top = 4, .pad_left = 4, .pad_bottom = 4, .pad_right = 4});
  EXPECT_LE(RelativeError(RunCuda(test), RunReference(test)), 1e-5);  // sums of 41472 products
}

TEST(CudaConv, StripsGiveTheSameBitsAsTheWholePicture) {
  for (Compute compute : {Compute::kF32, Compute::kI16}) {
    for (bool upsample : {false, true}) {
      const Case test = MakeCase({1, 12, 19, 7, 8, 3}, Fused(compute, upsample));
      const std::vector<float> whole = RunCuda(test);
      for (int64_t rows : {8, 16}) EXPECT_EQ(RunCudaInStrips(test, rows), whole) << rows;
    }
  }
}

}  // namespace
}  // namespace ingot::conformance
