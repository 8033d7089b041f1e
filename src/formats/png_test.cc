#include "formats/png.h"

#include <gtest/gtest.h>

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

}  // namespace
}  // namespace ingot
