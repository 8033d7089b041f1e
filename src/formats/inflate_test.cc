#include "formats/inflate.h"

#include <gtest/gtest.h>

#include "support/deflate.h"

namespace ingot {
namespace {

TEST(Inflate, GivesWhatWasPackedUpToItsBound) {
  const std::string text(100000, 'a');
  const std::string packed = Deflate(text);
  EXPECT_EQ(*Inflate(packed, text.size(), "x"), text);
  EXPECT_EQ(Inflate(packed, text.size() - 1, "x").status().code(), StatusCode::kUnsupported);
  EXPECT_EQ(Inflate(packed, 0, "x").status().code(), StatusCode::kUnsupported);
  EXPECT_EQ(*Inflate(Deflate(""), 0, "x"), "");
}

TEST(Inflate, WhatIsCutOrDamagedIsNoText) {
  const std::string packed = Deflate("a red house and a green tree");
  for (size_t size = 0; size < packed.size(); ++size) {
    EXPECT_FALSE(Inflate(std::string_view(packed).substr(0, size), 1000, "x").ok());
  }
  EXPECT_EQ(Inflate("no packed bytes", 1000, "x").status().code(), StatusCode::kCorruption);
}

}  // namespace
}  // namespace ingot
