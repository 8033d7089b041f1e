#include "server/infotext.h"

#include <gtest/gtest.h>

#include <random>

namespace ingot::server {
namespace {

TEST(Infotext, ReadsWhatForgeWrites) {
  const Infotext info = ParseInfotext(
      "a cat,\nsitting\nNegative prompt: bad: very\nSteps: 20, Sampler: Euler, Schedule type: "
      "Simple, CFG scale: 1, Distilled CFG Scale: 3.5, Seed: 1083098466, Size: 1360x792, Model: "
      "flux-hyp16-Q5_0, Lora hashes: \"flux_lora: e3b0, two: \\\"x\\\"\", Version: f2.0");
  EXPECT_EQ(info.prompt, "a cat,\nsitting");
  EXPECT_EQ(info.negative_prompt, "bad: very");
  EXPECT_EQ(info.field("Steps"), "20");
  EXPECT_EQ(info.field("Size-1"), "1360");
  EXPECT_EQ(info.field("Size-2"), "792");
  EXPECT_EQ(info.field("Lora hashes"), "flux_lora: e3b0, two: \"x\"");
  EXPECT_EQ(info.field("Version"), "f2.0");
  EXPECT_EQ(info.field("nothing"), "");
}

TEST(Infotext, ALastLineOfFewerThanThreeFieldsIsPrompt) {
  const Infotext info = ParseInfotext("a house\nStyle: old, Light: red");
  EXPECT_EQ(info.prompt, "a house\nStyle: old, Light: red");
  EXPECT_TRUE(info.fields.empty());
}

TEST(Infotext, AnyTextIsRead) {
  std::mt19937 random(1);
  for (int i = 0; i < 20000; ++i) {
    std::string text;
    for (size_t n = random() % 60; n > 0; --n) text += "ab:,\"\\\n x1-"[random() % 11];
    (void)ParseInfotext(text);
  }
}

}  // namespace
}  // namespace ingot::server
