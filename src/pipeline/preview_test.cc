#include "pipeline/preview.h"

#include <gtest/gtest.h>

#include <limits>

namespace ingot {
namespace {

TEST(LatentRgbFactors, ComeFromTheFile) {
  Metadata metadata;
  metadata.Set("ingot.latent_rgb_factors", std::string("1 2 3  4 5 6  -7 8e-1 9"));
  const LatentRgbFactors factors = ReadLatentRgbFactors(metadata, 2);
  ASSERT_EQ(factors.rows.size(), 2u);
  EXPECT_EQ(factors.rows[1][2], 6.0f);
  EXPECT_EQ(factors.bias[1], 0.8f);
}

TEST(LatentRgbFactors, AreFluxsWhenTheFileHasNoneOfThatSize) {
  Metadata metadata;
  for (const char* text : {"", "1 2 3", "1 2 3 4 5 6 7 8 x", "1 2 3 4 5 6 7 8"}) {
    metadata.Set("ingot.latent_rgb_factors", std::string(text));
    EXPECT_EQ(ReadLatentRgbFactors(metadata, 16).rows[9][0], 0.1008f) << text;
  }
}

TEST(FillPreview, IsALinearMapOfEachLatentPixel) {
  const LatentRgbFactors factors = {.rows = {{1, 0, 0}, {0, 0.5f, 0}}, .bias = {0, 0, -1}};
  const std::vector<float> latent = {1, -1, 0, 9, std::numeric_limits<float>::quiet_NaN(), 0, 2, -2,
                                     0, 0,  0, 0};
  std::vector<uint8_t> pixels(6 * 3);
  FillPreview(factors, {.channels = 2, .height = 2, .width = 3}, latent, pixels);
  const std::vector<uint8_t> expected = {255, 255, 0, 0, 0, 0, 128, 128, 0,
                                         255, 128, 0, 0, 0, 0, 128, 128, 0};
  EXPECT_EQ(pixels, expected);
}

}  // namespace
}  // namespace ingot
