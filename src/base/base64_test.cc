#include "base/base64.h"

#include <gtest/gtest.h>

namespace ingot {
namespace {

TEST(Base64, GivesTheVectorsOfRfc4648) {
  EXPECT_EQ(EncodeBase64(""), "");
  EXPECT_EQ(EncodeBase64("f"), "Zg==");
  EXPECT_EQ(EncodeBase64("fo"), "Zm8=");
  EXPECT_EQ(EncodeBase64("foobar"), "Zm9vYmFy");
}

TEST(Base64, EveryByteComesBack) {
  std::string bytes;
  for (int i = 0; i < 256; ++i) bytes += static_cast<char>(i);
  for (size_t size = 0; size < bytes.size(); ++size) {
    EXPECT_EQ(*DecodeBase64(EncodeBase64(bytes.substr(0, size))), bytes.substr(0, size));
  }
}

TEST(Base64, SkipsLinesAndMissingPadding) {
  EXPECT_EQ(*DecodeBase64("Zm9v\r\nYg"), "foob");
  EXPECT_EQ(DecodeBase64("Zm9*").status().message(),
            "base64: expected a letter of its alphabet, found byte 42 at 3");
}

}  // namespace
}  // namespace ingot
