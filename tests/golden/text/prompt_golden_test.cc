// Segments and rows equal to those of Forge's own parser and chunker.
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "golden_file.h"
#include "text/prompt_tokens.h"

namespace ingot {
namespace {

void ExpectRow(const WeightedTokens& found, const nlohmann::json& expected,
               const std::string& prompt) {
  EXPECT_EQ(found.ids, expected[0].get<std::vector<int32_t>>()) << prompt;
  EXPECT_EQ(found.weights, expected[1].get<std::vector<float>>()) << prompt;
}

TEST(PromptGolden, SegmentsAndRowsAreForges) {
  const std::string merges = ReadGolden("tiny_merges.txt");
  const std::string model = ReadGolden("tiny_spiece.model.gz");
  const auto clip = ClipTokenizer::Create(*ParseClipMerges({"merges", merges}));
  const auto t5 = T5Tokenizer::Create(*ParseSentencePieceModel({"spiece", model}));
  ASSERT_TRUE(clip.ok() && t5.ok());
  const nlohmann::json golden = nlohmann::json::parse(ReadGolden("prompts.json.gz"));
  ASSERT_GE(golden.size(), 80u);
  for (const nlohmann::json& row : golden) {
    const auto prompt = row["prompt"].get<std::string>();
    const Result<std::vector<PromptSegment>> segments = ParsePrompt(prompt, Emphasis::kOriginal);
    ASSERT_EQ(segments.ok(), !row.contains("error")) << prompt;
    if (!segments.ok()) continue;
    std::vector<PromptSegment> expected;
    for (const auto& segment : row["segments"]) {
      expected.push_back({segment[0].get<std::string>(), segment[1].get<double>()});
    }
    EXPECT_EQ(*segments, expected) << prompt;
    const std::vector<WeightedTokens> rows = ClipRows(*clip, *segments);
    ASSERT_EQ(rows.size(), row["clip"].size()) << prompt;
    for (size_t i = 0; i < rows.size(); ++i) ExpectRow(rows[i], row["clip"][i], prompt);
    if (row.contains("t5")) ExpectRow(T5Row(*t5, *segments, 256), row["t5"], prompt);
  }
}

}  // namespace
}  // namespace ingot
