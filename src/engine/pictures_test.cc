#include "engine/pictures.h"

#include <gtest/gtest.h>

#include "engine/png_info.h"
#include "support/deflate.h"

namespace ingot {
namespace {

std::string Encode(const PngPicture& picture) {
  const auto bytes = *EncodePng(picture);
  return std::string(reinterpret_cast<const char*>(bytes.data()), bytes.size());
}

// A PNG with one more chunk before its pixels.
std::string WithChunk(const std::string& type, const std::string& data) {
  const auto number = [](uLong value) {
    std::string bytes;
    for (int shift = 24; shift >= 0; shift -= 8) bytes += static_cast<char>(value >> shift);
    return bytes;
  };
  std::string png = Encode({.width = 1, .height = 1, .pixels = {1, 2, 3}});
  const std::string body = type + data;
  const uLong crc =
      ::crc32(0, reinterpret_cast<const Bytef*>(body.data()), static_cast<uInt>(body.size()));
  png.insert(png.find("IDAT") - 4, number(data.size()) + body + number(crc));
  return png;
}

// `payload` in the alpha of a picture, as NovelAI hides it.
std::string Hidden(const std::string& name, const std::string& payload) {
  PngPicture picture{.width = 60, .height = 40, .num_channels = 4};
  picture.pixels.assign(60 * 40 * 4, 254);
  std::string bytes = name;
  const auto num_bits = static_cast<uint32_t>(payload.size() * 8);
  for (int shift = 24; shift >= 0; shift -= 8) bytes += static_cast<char>(num_bits >> shift);
  bytes += payload;
  for (size_t i = 0; i < bytes.size() * 8; ++i) {
    const size_t at = (i % 40) * 60 + i / 40;
    picture.pixels[at * 4 + 3] |= static_cast<uint8_t>(bytes[i / 8] >> (7 - i % 8) & 1);
  }
  return Encode(picture);
}

TEST(Pictures, PackedTextsAreRead) {
  const std::string packed = Deflate("a red house");
  EXPECT_EQ(*ReadPictureTexts(WithChunk("zTXt", std::string("parameters\0\0", 12) + packed), "x"),
            (std::vector<PngText>{{"parameters", "a red house"}}));
  EXPECT_EQ(
      *ReadPictureTexts(WithChunk("iTXt", std::string("parameters\0\1\0\0\0", 15) + packed), "x"),
      (std::vector<PngText>{{"parameters", "a red house"}}));
}

TEST(Pictures, ABombIsNoText) {
  const std::string bomb = Deflate(std::string(kMaxInflatedText + 1, 'a'));
  EXPECT_LT(bomb.size(), 10000u);
  EXPECT_TRUE(
      ReadPictureTexts(WithChunk("zTXt", std::string("parameters\0\0", 12) + bomb), "x")->empty());
}

TEST(Pictures, TheTextInAlphaIsFoundPlainAndPacked) {
  EXPECT_EQ(*ReadPictureTexts(Hidden("stealth_pnginfo", "a red house"), "x"),
            (std::vector<PngText>{{"parameters", "a red house"}}));
  EXPECT_EQ(*ReadPictureTexts(Hidden("stealth_pngcomp", Deflate("{\"Comment\":1}")), "x"),
            (std::vector<PngText>{{"hidden", "{\"Comment\":1}"}}));
  EXPECT_TRUE(ReadPictureTexts(Hidden("stealth_pngcomp", "no packed text"), "x")->empty());
  EXPECT_TRUE(ReadPictureTexts(Hidden("something else.", "a red house"), "x")->empty());
}

TEST(Pictures, OtherFormatsAreRefused) {
  EXPECT_EQ(ReadPictureTexts("GIF89a", "x").status().code(), StatusCode::kUnsupported);
}

}  // namespace
}  // namespace ingot
