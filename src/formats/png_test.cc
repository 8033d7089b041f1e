#include "formats/png.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <string_view>

namespace ingot {
namespace {

PngPicture Ramp(int width, int height, int num_channels) {
  PngPicture picture{width, height, num_channels, {}, {}};
  for (int i = 0; i < width * height * num_channels; ++i) {
    picture.pixels.push_back(static_cast<uint8_t>(i * 7));
  }
  return picture;
}

std::string_view View(const std::vector<std::byte>& bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

TEST(Png, PicturesAndTextsComeBack) {
  for (const int num_channels : {3, 4}) {
    PngPicture picture = Ramp(5, 3, num_channels);
    picture.texts = {{"parameters", "a brass lamp\nSteps: 4, Size: 5x3"},
                     {"parameters", "grün"},
                     {"parameters", "鉄 \U0001F525"}};
    const auto bytes = EncodePng(picture);
    ASSERT_TRUE(bytes.ok()) << bytes.status().message();
    const auto read = DecodePng(*bytes, "test");
    ASSERT_TRUE(read.ok()) << read.status().message();
    EXPECT_EQ(read->pixels, picture.pixels);
    EXPECT_EQ(read->num_channels, num_channels);
    EXPECT_EQ(read->texts, picture.texts);
  }
}

TEST(Png, TextIsLatin1WherePossibleAndElseUtf8) {
  PngPicture picture = Ramp(2, 2, 3);
  picture.texts = {{"parameters", "gr\u00FCn"}};
  EXPECT_NE(View(*EncodePng(picture)).find(std::string_view("tEXtparameters\0gr\xFCn", 19)),
            std::string_view::npos);
  picture.texts = {{"parameters", "鉄"}};
  EXPECT_NE(View(*EncodePng(picture)).find(std::string_view("iTXtparameters\0\0\0\0\0鉄", 22)),
            std::string_view::npos);
}

TEST(Png, EveryTruncationIsAnErrorThatNamesTheFile) {
  const std::vector<std::byte> bytes = *EncodePng(Ramp(9, 9, 3));
  for (size_t size = 0; size < bytes.size(); ++size) {
    const auto read = DecodePng(std::span(bytes).first(size), "cut.png");
    ASSERT_EQ(read.status().code(), StatusCode::kCorruption) << size;
    EXPECT_TRUE(read.status().message().starts_with("cut.png: ")) << read.status().message();
  }
}

TEST(Png, RefusesSizesAndTextsThatAPngCannotHold) {
  EXPECT_EQ(EncodePng({0, 1, 3, {}, {}}).status().code(), StatusCode::kInvalidArgument);
  PngPicture picture = Ramp(2, 2, 3);
  for (const PngText& text : {PngText{"", "a"}, PngText{std::string(80, 'k'), "a"},
                              PngText{"key", "\xFF"}, PngText{"key", std::string(1, '\0')}}) {
    picture.texts = {text};
    EXPECT_EQ(EncodePng(picture).status().code(), StatusCode::kInvalidArgument);
  }
}

// Found by fuzzing: libpng would allocate 1.9 GB for such a chunk.
TEST(DecodePng, ChunkLongerThanTheFileIsRefusedBeforeItIsAllocated) {
  std::vector<std::byte> bytes =
      *EncodePng({.width = 1, .height = 1, .pixels = {1, 2, 3}, .texts = {{"key", "text"}}});
  const size_t text_chunk = 8 + 12 + 13;  // after the signature and IHDR
  bytes[text_chunk] = std::byte{0x73};
  EXPECT_EQ(DecodePng(bytes, "a.png").status().message(),
            "a.png: chunk at byte 33: expected at most 44 bytes, found a length of 1929379848");
}

TEST(Png, ASmallPictureIsTheMeanOfTheLargeOne) {
  PngPicture picture = Ramp(512, 256, 3);
  const auto small = ShrinkPng(*EncodePng(picture), "test", 128);
  ASSERT_TRUE(small.ok()) << small.status().message();
  EXPECT_EQ(small->width, 128);
  EXPECT_EQ(small->height, 64);
  for (const int at : {0, 127, 128 * 63 + 5}) {
    int sum = 0;
    for (int y = 0; y < 4; ++y) {
      for (int x = 0; x < 4; ++x) {
        sum +=
            picture.pixels[static_cast<size_t>(((at / 128 * 4 + y) * 512 + at % 128 * 4 + x) * 3)];
      }
    }
    EXPECT_NEAR(small->pixels[static_cast<size_t>(at * 3)], sum / 16.0, 0.51) << at;
  }
}

TEST(Png, ShrinkingKeepsColourAndSizeWhateverTheRatio) {
  for (const auto& [width, height, side] : {std::array{7, 3, 5},
                                            {1, 900, 64},
                                            {333, 77, 100},
                                            {64, 64, 64},
                                            {10, 10, 256},
                                            {1000, 999, 1}}) {
    PngPicture grey{width, height, 4, {}, {}};
    grey.pixels.assign(static_cast<size_t>(width * height * 4), 77);
    const auto small = ShrinkPng(*EncodePng(grey), "test", side);
    ASSERT_TRUE(small.ok());
    EXPECT_EQ(std::max(small->width, small->height), std::min(side, std::max(width, height)));
    for (const uint8_t value : small->pixels) ASSERT_EQ(value, 77) << width << "x" << height;
  }
  const PngPicture same = Ramp(9, 5, 3);
  EXPECT_EQ(ShrinkPng(*EncodePng(same), "test", 16)->pixels, same.pixels);
}

TEST(Png, ACutPictureIsNotShrunk) {
  std::vector<std::byte> bytes = *EncodePng(Ramp(64, 64, 3));
  bytes.resize(bytes.size() / 2);
  EXPECT_EQ(ShrinkPng(bytes, "test", 8).status().code(), StatusCode::kCorruption);
}

}  // namespace
}  // namespace ingot
