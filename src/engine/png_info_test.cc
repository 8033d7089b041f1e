#include "engine/png_info.h"

#include <gtest/gtest.h>

#include <random>

namespace ingot {
namespace {

std::string Png(std::vector<PngText> texts) {
  const auto bytes = EncodePng({.width = 1, .height = 1, .pixels = {1, 2, 3}, .texts = texts});
  return std::string(reinterpret_cast<const char*>(bytes->data()), bytes->size());
}

TEST(PngInfo, GivesTheTextsThatWereWritten) {
  const std::vector<PngText> texts = {{"parameters", "a red house\nSteps: 4"},
                                      {"latin",
                                       "Stra\xc3\x9f"
                                       "e"},
                                      {"other", "\xe2\x98\x83"}};
  EXPECT_EQ(*ReadPngTexts(Png(texts), "x"), texts);
}

TEST(PngInfo, DamagedFilesAreNamed) {
  EXPECT_EQ(ReadPngTexts("GIF89a", "x").status().message(), "x: expected a PNG");
  std::string png = Png({{"parameters", "abc"}});
  png[png.find("abc")] = 'z';
  EXPECT_EQ(ReadPngTexts(png, "x").status().code(), StatusCode::kCorruption);
}

TEST(PngInfo, EveryCutAndEveryByteIsSurvived) {
  const std::string png = Png({{"parameters", "abc"}, {"p", "\xe2\x98\x83"}});
  for (size_t size = 0; size < png.size(); ++size) {
    EXPECT_FALSE(ReadPngTexts(std::string_view(png).substr(0, size), "x").ok());
  }
  std::mt19937 random(1);
  for (int i = 0; i < 20000; ++i) {
    std::string damaged = png;
    damaged[random() % damaged.size()] = static_cast<char>(random());
    (void)ReadPngTexts(damaged, "x");
  }
}

}  // namespace
}  // namespace ingot
