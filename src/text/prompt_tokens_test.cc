// Facts about the encoders' rows, on vocabularies of a few tokens.
#include "text/prompt_tokens.h"

#include <gtest/gtest.h>

namespace ingot {
namespace {

ClipTokenizer Clip() {
  return *ClipTokenizer::Create(*ParseClipMerges({"test", "f o\nfo x</w>\n"}));
}

T5Tokenizer T5() {
  T5Vocabulary vocabulary;
  vocabulary.pieces = {"<pad>", "</s>", "<unk>", "\u2581", "fox"};
  vocabulary.scores = {0, 0, 0, -2, -3};
  vocabulary.types = {PieceType::kControl, PieceType::kControl, PieceType::kUnknown,
                      PieceType::kNormal, PieceType::kNormal};
  return *T5Tokenizer::Create(std::move(vocabulary));
}

std::vector<WeightedTokens> Rows(const std::string& prompt) {
  return ClipRows(Clip(), *ParsePrompt(prompt, Emphasis::kOriginal));
}

std::string Repeat(const std::string& text, int times) {
  std::string out;
  for (int i = 0; i < times; ++i) out += text;
  return out;
}

TEST(ClipRows, EmptyPromptIsOneRowOfBeginAndEnds) {
  const auto rows = Rows("");
  ASSERT_EQ(rows.size(), 1u);
  ASSERT_EQ(rows[0].ids.size(), 77u);
  EXPECT_EQ(rows[0].ids[0], Clip().begin_id());
  EXPECT_EQ(rows[0].ids[1], Clip().end_id());
}

TEST(ClipRows, WeightsStandAtTheirTokensAndNowhereElse) {
  const WeightedTokens row = Rows("fox (fox:1.5)").at(0);
  EXPECT_EQ(std::vector<float>(row.weights.begin(), row.weights.begin() + 4),
            (std::vector<float>{1, 1, 1.5f, 1}));
}

TEST(ClipRows, FullRowBreaksAfterItsLastCommaWithinTwentyTokens) {
  const auto rows = Rows(Repeat("fox ", 59) + ", " + Repeat("fox ", 30));
  ASSERT_EQ(rows.size(), 2u);
  EXPECT_EQ(rows[0].ids[60], Clip().comma_id());
  EXPECT_EQ(rows[0].ids[61], Clip().end_id());
}

TEST(ClipRows, CommaFurtherBackDoesNotBreakTheRow) {
  const auto rows = Rows(Repeat("fox ", 40) + ", " + Repeat("fox ", 40));
  EXPECT_NE(rows.at(0).ids[75], Clip().end_id());
}

TEST(ClipRows, BreakStartsARow) { EXPECT_EQ(Rows("fox BREAK fox").size(), 2u); }

TEST(T5Row, PadsToTheMinimumAndNeverCuts) {
  const auto prompt = *ParsePrompt("fox (fox:1.5)", Emphasis::kOriginal);
  const WeightedTokens row = T5Row(T5(), prompt, 8);
  EXPECT_EQ(row.ids, (std::vector<int32_t>{3, 4, 3, 4, 1, 0, 0, 0}));
  EXPECT_EQ(row.weights, (std::vector<float>{1, 1, 1.5f, 1.5f, 1, 1, 1, 1}));
  EXPECT_EQ(T5Row(T5(), prompt, 0).ids.size(), 5u);
}

TEST(T5Row, KeepsTheTextAfterABreak) {
  EXPECT_EQ(T5Row(T5(), *ParsePrompt("fox BREAK fox", Emphasis::kOriginal), 0).ids,
            (std::vector<int32_t>{3, 4, 3, 4, 1}));
}

}  // namespace
}  // namespace ingot
