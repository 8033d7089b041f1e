// Ids equal to transformers' fast tokenizers on every string of the corpus.
#include <algorithm>

#include <fmt/ranges.h>
#include <gtest/gtest.h>

#include "golden_file.h"
#include "text/builtin_vocabulary.h"
#include "text/clip_tokenizer.h"
#include "text/t5_tokenizer.h"

namespace ingot {
namespace {

constexpr size_t kMaxShown = 10;

std::string Escaped(const std::string& text) {
  std::string out;
  for (const unsigned char c : text.substr(0, 120)) {
    out += c >= 0x20 && c < 0x7f ? std::string(1, c) : fmt::format("\\x{:02x}", c);
  }
  return out;
}

// encode(text) gives the whole row, begin and end included.
template <typename Encode>
void ExpectIds(const std::string& golden, Encode encode) {
  const std::vector<std::string> strings = ReadStrings("strings.gz");
  const std::vector<std::vector<int32_t>> expected = ReadIds(golden);
  ASSERT_GE(strings.size(), 5000u);
  ASSERT_EQ(strings.size(), expected.size());
  size_t mismatches = 0;
  for (size_t i = 0; i < strings.size(); ++i) {
    const std::vector<int32_t> found = encode(strings[i]);
    if (found == expected[i] || ++mismatches > kMaxShown) continue;
    const auto [at, other] =
        std::mismatch(found.begin(), found.end(), expected[i].begin(), expected[i].end());
    const auto from = at - found.begin();
    const auto few = [&](const std::vector<int32_t>& ids) {
      const auto begin = ids.begin() + std::min<std::ptrdiff_t>(from, std::ssize(ids));
      return fmt::format("{}", fmt::join(begin, std::min(ids.end(), begin + 12), " "));
    };
    ADD_FAILURE() << golden << " string " << i << " \"" << Escaped(strings[i]) << "\" from id "
                  << from << ": expected " << few(expected[i]) << ", found " << few(found);
  }
  EXPECT_EQ(mismatches, 0u) << "of " << strings.size() << " strings";
  fmt::print("{}: {} strings, {} mismatches\n", golden, strings.size(), mismatches);
}

void ExpectClipIds(const std::string& golden, const Result<ClipVocabulary>& vocabulary) {
  ASSERT_TRUE(vocabulary.ok()) << vocabulary.status().message();
  const Result<ClipTokenizer> tokenizer = ClipTokenizer::Create(*vocabulary);
  ASSERT_TRUE(tokenizer.ok()) << tokenizer.status().message();
  ExpectIds(golden, [&](const std::string& text) {
    std::vector<int32_t> ids = tokenizer->Encode(text);
    ids.insert(ids.begin(), tokenizer->begin_id());
    ids.push_back(tokenizer->end_id());
    return ids;
  });
}

void ExpectT5Ids(const std::string& golden, const Result<T5Vocabulary>& vocabulary) {
  ASSERT_TRUE(vocabulary.ok()) << vocabulary.status().message();
  const Result<T5Tokenizer> tokenizer = T5Tokenizer::Create(*vocabulary);
  ASSERT_TRUE(tokenizer.ok()) << tokenizer.status().message();
  ExpectIds(golden, [&](const std::string& text) {
    std::vector<int32_t> ids = tokenizer->Encode(text);
    ids.push_back(tokenizer->end_id());
    return ids;
  });
}

TEST(ClipGolden, TinyVocabularyGivesTransformersIds) {
  const std::string merges = ReadGolden("tiny_merges.txt");
  ExpectClipIds("tiny_clip_ids.gz", ParseClipMerges({"tiny_merges.txt", merges}));
}

TEST(T5Golden, TinyVocabularyGivesTransformersIds) {
  const std::string model = ReadGolden("tiny_spiece.model.gz");
  ExpectT5Ids("tiny_t5_ids.gz", ParseSentencePieceModel({"tiny_spiece.model", model}));
}

TEST(ClipGolden, BuiltinVocabularyGivesTransformersIds) {
  if (BuiltinClipMerges().empty()) GTEST_SKIP() << "merges.txt of CLIP is not in this build";
  ExpectClipIds("clip_ids.gz", BuiltinClipVocabulary());
}

TEST(T5Golden, BuiltinVocabularyGivesTransformersIds) {
  if (BuiltinT5Model().empty()) GTEST_SKIP() << "spiece.model of T5 is not in this build";
  ExpectT5Ids("t5_ids.gz", BuiltinT5Vocabulary());
}

}  // namespace
}  // namespace ingot
