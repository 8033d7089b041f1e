// Facts of the prompt syntax; tests/golden/text compares more of them with Forge itself.
#include "text/prompt.h"

#include <gtest/gtest.h>

namespace ingot {
namespace {

std::vector<PromptSegment> Parse(std::string_view prompt) {
  return *ParsePrompt(prompt, Emphasis::kOriginal);
}

TEST(Prompt, BracketsWeighTheirText) {
  const std::vector<PromptSegment> expected = {{"a ", 1},    {"red", 1.3}, {" ", 1},
                                               {"fox", 1.1}, {" ", 1},     {"grey", 1 / 1.1}};
  EXPECT_EQ(Parse("a (red:1.3) (fox) [grey]"), expected);
}

TEST(Prompt, BackslashMakesABracketText) {
  EXPECT_EQ(Parse("fox \\(animal\\)"), (std::vector<PromptSegment>{{"fox (animal)", 1}}));
}

TEST(Prompt, BreakIsASegmentOnlyAsAWordOfWeightOne) {
  EXPECT_TRUE(IsBreak(Parse("a BREAK b").at(1)));
  EXPECT_EQ(Parse("aBREAK b").size(), 1u);
  EXPECT_FALSE(IsBreak(Parse("(a BREAK b:2)").at(1)));  // as in Forge: there it weighs -2
}

TEST(Prompt, WithoutEmphasisBracketsAreText) {
  EXPECT_EQ(*ParsePrompt("(a:2)", Emphasis::kNone), (std::vector<PromptSegment>{{"(a:2)", 1}}));
}

TEST(Prompt, EmptyPromptIsOneEmptySegment) {
  EXPECT_EQ(Parse(""), (std::vector<PromptSegment>{{"", 1}}));
}

TEST(Prompt, WeightThatIsNoNumberIsNamed) {
  const auto result = ParsePrompt("(a:1.2.3)", Emphasis::kOriginal);
  EXPECT_EQ(result.status().code(), StatusCode::kInvalidArgument);
  EXPECT_NE(result.status().message().find("1.2.3"), std::string::npos);
}

TEST(Prompt, WeightBeyondFloatIsRefused) {
  const std::string zeros(60, '0');
  EXPECT_FALSE(ParsePrompt("(a:1" + zeros + ")", Emphasis::kOriginal).ok());
  EXPECT_FALSE(ParsePrompt("(a:1" + std::string(400, '0') + ")", Emphasis::kOriginal).ok());
}

TEST(Prompt, CommentEndsWithItsLine) {
  EXPECT_EQ(StripComments("#whole\na #part\nb"), "\na \nb");
  EXPECT_EQ(StripComments("a\n#whole\nb"), "a\nb");
  EXPECT_EQ(StripComments("a#"), "a\n");
  EXPECT_EQ(StripComments("no comment"), "no comment");
}

}  // namespace
}  // namespace ingot
