// What a build with vocabularies has, and what one without them says.
#include "text/builtin_vocabulary.h"

#include <gtest/gtest.h>

namespace ingot {
namespace {

TEST(BuiltinVocabulary, ClipIsWholeOrNamesTheFileToBring) {
  const auto vocabulary = BuiltinClipVocabulary();
  if (BuiltinClipMerges().empty()) {
    EXPECT_EQ(vocabulary.status().code(), StatusCode::kNotFound);
    EXPECT_NE(vocabulary.status().message().find("merges.txt"), std::string::npos);
    return;
  }
  ASSERT_TRUE(vocabulary.ok()) << vocabulary.status().message();
  ASSERT_EQ(vocabulary->tokens.size(), 49408u);
  EXPECT_EQ(vocabulary->tokens[49406], "<|startoftext|>");
  EXPECT_EQ(vocabulary->tokens[320], "a</w>");
}

TEST(BuiltinVocabulary, T5IsWholeOrNamesTheFileToBring) {
  const auto vocabulary = BuiltinT5Vocabulary();
  if (BuiltinT5Model().empty()) {
    EXPECT_EQ(vocabulary.status().code(), StatusCode::kNotFound);
    EXPECT_NE(vocabulary.status().message().find("spiece.model"), std::string::npos);
    return;
  }
  ASSERT_TRUE(vocabulary.ok()) << vocabulary.status().message();
  ASSERT_EQ(vocabulary->pieces.size(), 32100u);
  EXPECT_EQ(vocabulary->pieces[32099], "<extra_id_0>");
}

}  // namespace
}  // namespace ingot
