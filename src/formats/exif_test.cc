#include "formats/exif.h"

#include <gtest/gtest.h>

#include <random>

namespace ingot {
namespace {

std::string Big(uint32_t value, int num_bytes) {
  std::string bytes;
  for (int i = num_bytes; i-- > 0;) bytes += static_cast<char>(value >> (8 * i));
  return bytes;
}
std::string Little(uint32_t value, int num_bytes) {
  const std::string big = Big(value, num_bytes);
  return {big.rbegin(), big.rend()};
}

// A TIFF as piexif writes it: a directory that points to the one with the UserComment.
std::string Tiff(const std::string& comment, bool is_little) {
  const auto number = is_little ? Little : Big;
  std::string tiff = is_little ? std::string("II*\0", 4) : std::string("MM\0*", 4);
  tiff += number(8, 4) + number(1, 2);  // 1 tag
  tiff += number(0x8769, 2) + number(4, 2) + number(1, 4) + number(26, 4) + number(0, 4);
  tiff += number(1, 2) + number(0x9286, 2) + number(7, 2);
  tiff += number(static_cast<uint32_t>(comment.size()), 4) + number(44, 4) + number(0, 4);
  return tiff + comment;
}
std::string Utf16(std::u16string_view text, bool is_little) {
  std::string bytes("UNICODE\0", 8);
  for (const char16_t unit : text) bytes += is_little ? Little(unit, 2) : Big(unit, 2);
  return bytes;
}
std::string Jpeg(const std::string& tiff) {
  const std::string app1 = std::string("Exif\0\0", 6) + tiff;
  return "\xff\xd8\xff\xe0" + Big(4, 2) + "xx" + "\xff\xe1" +
         Big(static_cast<uint32_t>(app1.size()) + 2, 2) + app1 + "\xff\xda";
}
std::string Webp(const std::string& tiff) {
  return "RIFF" + Little(0, 4) + "WEBPVP8X" + Little(3, 4) + "abc" + std::string(1, '\0') + "EXIF" +
         Little(static_cast<uint32_t>(tiff.size()), 4) + tiff;
}

TEST(Exif, TheUserCommentOfJpegAndWebpIsTheParametersText) {
  const std::string text = "gr\xc3\xbcn \xf0\x9f\x94\xa5\nSteps: 4";
  const std::u16string utf16 = u"gr\u00fcn \U0001F525\nSteps: 4";
  for (const bool is_little : {false, true}) {
    for (const bool is_text_little : {false, true}) {
      const std::string tiff = Tiff(Utf16(utf16, is_text_little), is_little);
      for (const std::string& picture : {Jpeg(tiff), Webp(tiff)}) {
        EXPECT_EQ(ReadExifTexts(picture), (std::vector<PngText>{{"parameters", text}}));
      }
    }
  }
  const std::string ascii = std::string("ASCII\0\0\0", 8) + "Steps: 4";
  EXPECT_EQ(ReadExifTexts(Jpeg(Tiff(ascii, true)))[0].text, "Steps: 4");
}

TEST(Exif, EveryCutAndEveryByteIsSurvived) {
  const std::string tiff = Tiff(Utf16(u"a red house", false), false);
  std::mt19937 random(1);
  for (const std::string& picture : {Jpeg(tiff), Webp(tiff)}) {
    for (size_t size = 0; size <= picture.size(); ++size) {
      (void)ReadExifTexts(std::string_view(picture).substr(0, size));
    }
    for (int i = 0; i < 20000; ++i) {
      std::string damaged = picture;
      damaged[random() % damaged.size()] = static_cast<char>(random());
      (void)ReadExifTexts(damaged);
    }
  }
}

TEST(Exif, OtherFormatsHaveNoText) { EXPECT_TRUE(ReadExifTexts("GIF89a").empty()); }

}  // namespace
}  // namespace ingot
