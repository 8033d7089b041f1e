// Conv2d against its reference.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "conv_cases.h"
#include "devices/cpu/cpu_device.h"

namespace ingot::conformance {
namespace {

using op::Compute;

// Winograd in f32: intermediate values are larger than the results. Measured: 1.1e-6.
constexpr double kExactTolerance = 4e-6;
// int16 with the norm of a row spread over up to 640 channels. Measured: 6e-4 of the largest
// output.
constexpr double kInt16Tolerance = 1.5e-3;
// The roundings of x, the residual and the output to 11 bits come on top.
constexpr double kF16Tolerance = 2e-3;

Case MakeCase(const ConvSize& size, const op::Conv2d& op, const ConvTypes& types = {}) {
  Case test = MakeConvCase(size, op, types);
  test.tolerance = op.compute == Compute::kI16 ? kInt16Tolerance : kExactTolerance;
  if (types.picture == DType::kF16) test.tolerance = kF16Tolerance;
  return test;
}

void ExpectConformsInBoth(const ConvSize& size, op::Conv2d op) {
  for (Compute compute : {Compute::kF32, Compute::kI16}) {
    op.compute = compute;
    ExpectConforms(MakeCase(size, op));
  }
}

TEST(ConvConformance, HoldsForPicturesOfFewPixels) {
  for (int64_t height : {1, 2, 9}) {
    for (int64_t width : {1, 3, 16, 28}) {
      ExpectConformsInBoth({1, 5, height, width, 7, 3}, kSame3x3);
      ExpectConformsInBoth({1, 5, height, width, 7, 1}, {});
    }
  }
}

TEST(ConvConformance, HoldsForPictureSizesAroundTheTiles) {
  for (int64_t height : {16, 17, 19, 53}) {
    for (int64_t width : {16, 18, 37, 70}) {
      ExpectConformsInBoth({1, 5, height, width, 7, 3}, kSame3x3);
    }
  }
  ExpectConformsInBoth({1, 5, 2, 400, 7, 3}, kSame3x3);
  ExpectConformsInBoth({1, 5, 400, 1, 7, 3}, kSame3x3);
  ExpectConformsInBoth({1, 5, 60, 70, 7, 1}, {});
}

TEST(ConvConformance, HoldsForChannelsAndFiltersAroundTheBlocks) {
  for (int64_t channels : {31, 33, 64, 650}) {
    ExpectConformsInBoth({1, channels, 16, 17, 33, 3}, kSame3x3);
    ExpectConformsInBoth({1, channels, 7, 9, 31, 3}, kSame3x3);
    ExpectConformsInBoth({1, channels, 7, 9, 65, 1}, {});
  }
  ExpectConformsInBoth({1, 20, 20, 20, 300, 3}, kSame3x3);
}

TEST(ConvConformance, HoldsForMoreFiltersThanTheWorkspaceTakesAtATime) {
  ExpectConforms(MakeCase({1, 640, 16, 17, 260, 3}, kSame3x3));
}

TEST(ConvConformance, HoldsForStride2) {
  // AutoEncoder's Downsample pads on the right and below only.
  const op::Conv2d downsample{.stride = 2, .pad_bottom = 1, .pad_right = 1};
  op::Conv2d centred = kSame3x3;
  centred.stride = 2;
  for (int64_t width : {4, 7, 38}) {
    ExpectConformsInBoth({1, 6, 10, width, 9, 3}, downsample);
    ExpectConformsInBoth({1, 6, 9, width, 9, 3}, centred);
    ExpectConformsInBoth({1, 6, 9, width, 9, 1}, {.stride = 2});
  }
  ExpectConformsInBoth({1, 6, 80, 150, 9, 3}, downsample);
}

TEST(ConvConformance, HoldsForOtherPaddings) {
  ExpectConformsInBoth({1, 3, 2, 2, 4, 3}, {.pad_top = 5, .pad_left = 1, .pad_right = 7});
  ExpectConformsInBoth({1, 3, 3, 2, 4, 5},
                       {.stride = 2, .pad_top = 3, .pad_left = 6, .pad_bottom = 4, .pad_right = 2});
  ExpectConformsInBoth({1, 3, 20, 30, 4, 3}, {.pad_top = 5, .pad_left = 2, .pad_right = 7});
  ExpectConformsInBoth({1, 3, 20, 30, 4, 3}, {});
}

TEST(ConvConformance, HoldsForSeveralPictures) {
  ExpectConformsInBoth({3, 8, 7, 21, 8, 3}, FusedConv(Compute::kF32, false));
  ExpectConformsInBoth({3, 8, 17, 21, 8, 3}, FusedConv(Compute::kF32, false));
}

TEST(ConvConformance, HoldsWithNormUpsampleAndResidual) {
  for (bool upsample : {false, true}) {
    for (int64_t height : {5, 16, 37}) {
      ExpectConformsInBoth({1, 24, height, 18, 40, 3}, FusedConv(Compute::kF32, upsample));
    }
  }
  op::Conv2d uneven = kSame3x3;  // no four phases of 3x3
  uneven.upsample = true, uneven.pad_top = 0;
  ExpectConformsInBoth({1, 24, 18, 18, 7, 3}, uneven);
}

TEST(ConvConformance, HoldsForF16Pictures) {
  for (Compute compute : {Compute::kF32, Compute::kI16}) {
    for (int64_t channels : {12, 32}) {
      const ConvTypes types = {.picture = DType::kF16, .weight = DType::kF32};
      ExpectConforms(MakeCase({1, channels, 18, 19, 21, 3}, FusedConv(compute, false), types));
      ExpectConforms(MakeCase({1, channels, 18, 19, 32, 3}, FusedConv(compute, true), types));
      ExpectConforms(MakeCase({1, channels, 8, 9, 21, 3}, FusedConv(compute, false), types));
    }
  }
}

TEST(ConvConformance, HoldsForWeightsAsTheFileHasThem) {
  for (DType weight : {DType::kF32, DType::kF16, DType::kBF16}) {
    for (int64_t height : {17, 7}) {
      Case test = MakeCase({1, 33, height, 18, 35, 3}, kSame3x3, {.weight = weight});
      Operand& filters = test.inputs[1];
      filters.bytes.insert(filters.bytes.begin(), std::byte{0});
      filters.offset = 1;  // tensors of a file begin at any byte
      ExpectConforms(test);
    }
  }
}

// Sums of int16 products would pass 2^31 if the operands were not scaled by their norms.
TEST(ConvConformance, Int16SumsDoNotOverflow) {
  op::Conv2d op = kSame3x3;
  op.compute = Compute::kI16;
  Case test = MakeCase({1, 640, 16, 17, 32, 3}, op);
  for (Operand& operand : test.inputs) {
    std::vector<float> ones(operand.bytes.size() / sizeof(float), 1.0f);
    std::memcpy(operand.bytes.data(), ones.data(), operand.bytes.size());
  }
  ExpectConforms(test);
}

// What a pixel reaches by its filters becomes NaN with it, the tiles that do not read it keep their
// bits.
TEST(ConvConformance, NanAndInfinityComeOutAsNanInTheirTilesOnly) {
  op::Conv2d op = kSame3x3;
  op.compute = Compute::kI16;
  Case test = MakeCase({1, 32, 24, 24, 16, 3}, op);
  const std::vector<float> expected = RunFast(test);
  const float nan = std::numeric_limits<float>::quiet_NaN();
  for (float value : {nan, -nan, INFINITY, -INFINITY, 3e38f}) {
    // Row 9, column 10: inside of tile (2, 2), read by no other.
    std::memcpy(test.inputs[0].bytes.data() + ((9 * 24 + 10) * 32 + 5) * 4, &value, 4);
    const std::vector<float> found = RunFast(test);
    for (size_t i = 0; i < found.size(); ++i) {
      const size_t y = i / 16 / 24, x = i / 16 % 24;
      if (y / 4 != 2 || x / 4 != 2) {
        EXPECT_EQ(found[i], expected[i]) << value << ": " << y << ", " << x;
      } else if (y <= 10 && x >= 9) {
        EXPECT_TRUE(std::isnan(found[i])) << value << ": " << y << ", " << x;
      }
    }
  }
}

// Rows [begin, end) of the pictures.
ConstTensorView RowsOf(ConstTensorView view, int64_t begin, int64_t end) {
  Shape row = view.shape;
  row[1] = 1;
  view.data += begin * NumBytes(view.dtype, row);
  view.shape[1] = end - begin;
  return view;
}

// Runs `test` for rows [begin, end) of its output, from the rows of x that these need.
std::vector<float> RunStrip(Device& device, const Case& test, int64_t begin, int64_t end) {
  const auto& op = std::get<op::Conv2d>(test.op);
  std::vector<ConstTensorView> views;
  std::vector<Shape> shapes;
  std::vector<DType> dtypes;
  for (const Operand& input : test.inputs) {
    shapes.push_back(input.shape);
    dtypes.push_back(input.dtype);
    views.push_back({input.dtype, input.shape, input.bytes.data(), 1.0f});
  }
  Shape out = op::InferShape(test.op, shapes);
  const OpSignature signature{&test.op, shapes, dtypes, out, DType::kF32};
  const int64_t scale = op.upsample ? 2 : 1, height = shapes[0][1];
  const Strip strip = {.begin = begin,
                       .window_begin = std::max<int64_t>(begin / scale - 1, 0),
                       .picture_rows = height};
  views[0] = RowsOf(views[0], strip.window_begin, std::min(end / scale + 1, height));
  if (op.residual) views.back() = RowsOf(views.back(), begin, end);
  out[1] = end - begin;
  std::vector<float> values(static_cast<size_t>(out.num_elements()));
  const auto workspace = *device.Allocate(device.WorkspaceBytes(signature));
  const Status status = device.Run({&test.op,
                                    views,
                                    {DType::kF32, out, reinterpret_cast<std::byte*>(values.data())},
                                    workspace->bytes(),
                                    &strip},
                                   {});
  EXPECT_TRUE(status.ok()) << status.message();
  return values;
}

TEST(ConvConformance, StripsGiveTheSameBitsAsTheWholePicture) {
  const auto device = *OpenCpuDevice({.num_threads = 2});
  for (Compute compute : {Compute::kF32, Compute::kI16}) {
    for (bool upsample : {false, true}) {
      for (int64_t height : {12, 39}) {  // the smaller directly
        const Case test = MakeCase({1, 12, height, 21, 8, 3}, FusedConv(compute, upsample));
        const std::vector<float> expected = RunFast(test);
        const int64_t out_height = upsample ? 2 * height : height;
        for (int64_t rows : {8, 16, 32}) {
          std::vector<float> found;
          for (int64_t begin = 0; begin < out_height; begin += rows) {
            const std::vector<float> strip =
                RunStrip(*device, test, begin, std::min(begin + rows, out_height));
            found.insert(found.end(), strip.begin(), strip.end());
          }
          EXPECT_EQ(found, expected) << test.name << ", strips of " << rows;
        }
      }
    }
  }
}

}  // namespace
}  // namespace ingot::conformance
