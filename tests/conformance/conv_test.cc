// Conv2d against its reference.
#include <gtest/gtest.h>

#include <fmt/format.h>

#include "harness.h"

namespace ingot::conformance {
namespace {

// f32 sums of up to 640 terms; see linear_test.cc.
constexpr double kTolerance = 2e-6;

struct Size {
  int64_t batch, channels, height, width, filters, kernel;
};

op::Conv2d WithBias(op::Conv2d op, bool has_bias) {
  op.has_bias = has_bias;
  return op;
}

Case MakeCase(const Size& size, const op::Conv2d& op, bool has_bias) {
  Case test{.name = fmt::format("{}x{}x{}x{}, {} filters of {}, stride {}, padding {} {} {} {}",
                                size.batch, size.channels, size.height, size.width, size.filters,
                                size.kernel, op.stride, op.pad_top, op.pad_left, op.pad_bottom,
                                op.pad_right),
            .op = WithBias(op, has_bias),
            .inputs = {RandomOperand(DType::kF32,
                                     {size.batch, size.height, size.width, size.channels}, 1),
                       RandomOperand(DType::kF32,
                                     {size.filters, size.channels, size.kernel, size.kernel}, 2)},
            .tolerance = kTolerance};
  if (has_bias) test.inputs.push_back(RandomOperand(DType::kF32, {size.filters}, 3));
  return test;
}

constexpr op::Conv2d kSame3x3{
    .stride = 1, .pad_top = 1, .pad_left = 1, .pad_bottom = 1, .pad_right = 1};

TEST(ConvConformance, HoldsForPictureSizesAroundTheTiles) {
  for (int64_t height : {1, 2, 9}) {
    for (int64_t width : {1, 3, 16, 33, 127, 129}) {
      ExpectConforms(MakeCase({1, 5, height, width, 7, 3}, kSame3x3, true));
      ExpectConforms(MakeCase({1, 5, height, width, 7, 1}, {}, false));
    }
  }
}

TEST(ConvConformance, HoldsForMoreChannelsThanABlockOfK) {
  ExpectConforms(MakeCase({1, 70, 11, 13, 17, 3}, kSame3x3, true));
  ExpectConforms(MakeCase({1, 300, 11, 13, 15, 1}, {}, true));
}

TEST(ConvConformance, HoldsForStride2) {
  // AutoEncoder's Downsample pads on the right and below only.
  const op::Conv2d downsample{
      .stride = 2, .pad_top = 0, .pad_left = 0, .pad_bottom = 1, .pad_right = 1};
  const op::Conv2d centred{
      .stride = 2, .pad_top = 1, .pad_left = 1, .pad_bottom = 1, .pad_right = 1};
  for (int64_t width : {4, 7, 38}) {
    ExpectConforms(MakeCase({1, 6, 10, width, 9, 3}, downsample, true));
    ExpectConforms(MakeCase({1, 6, 9, width, 9, 3}, centred, true));
    ExpectConforms(MakeCase(
        {1, 6, 9, width, 9, 1},
        {.stride = 2, .pad_top = 0, .pad_left = 0, .pad_bottom = 0, .pad_right = 0}, true));
  }
}

TEST(ConvConformance, HoldsForPaddingsWiderThanThePicture) {
  ExpectConforms(
      MakeCase({1, 3, 2, 2, 4, 3},
               {.stride = 1, .pad_top = 5, .pad_left = 1, .pad_bottom = 0, .pad_right = 7}, true));
  ExpectConforms(
      MakeCase({1, 3, 3, 2, 4, 5},
               {.stride = 2, .pad_top = 3, .pad_left = 6, .pad_bottom = 4, .pad_right = 2}, true));
}

TEST(ConvConformance, HoldsForSeveralPictures) {
  ExpectConforms(MakeCase({3, 4, 7, 21, 8, 3}, kSame3x3, true));
}

TEST(ConvConformance, GivesAStripTheSameBitsAsTheWholePicture) {
  const Case whole = MakeCase({1, 1, 40, 21, 3, 3}, kSame3x3, true);
  const std::vector<float> expected = RunFast(whole);
  // Rows 10 .. 24 of the picture give rows 11 .. 23 of the output.
  Case strip = whole;
  strip.op = op::Conv2d{.pad_left = 1, .pad_right = 1, .has_bias = true};
  strip.inputs[0].shape = {1, 15, 21, 1};
  const auto first = whole.inputs[0].bytes.begin() + 10 * 21 * 4;
  strip.inputs[0].bytes.assign(first, first + 15 * 21 * 4);
  const std::vector<float> found = RunFast(strip);
  for (size_t i = 0; i < found.size(); ++i) EXPECT_EQ(found[i], expected[11 * 21 * 3 + i]) << i;
}

}  // namespace
}  // namespace ingot::conformance
