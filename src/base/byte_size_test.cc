#include "base/byte_size.h"

#include <gtest/gtest.h>

namespace ingot {
namespace {

TEST(ParseByteSize, TakesBinaryAndDecimalUnits) {
  EXPECT_EQ(*ParseByteSize("512MiB"), 512ll << 20);
  EXPECT_EQ(*ParseByteSize("1.5GiB"), 3ll << 29);
  EXPECT_EQ(*ParseByteSize("500MB"), 500'000'000);
}

TEST(ParseByteSize, RefusesABareNumberAndNonsense) {
  for (const char* text : {"4096", "", "MiB", "-1GiB", "1 GiB", "nanGiB", "1e300GiB", "1gib"}) {
    EXPECT_EQ(ParseByteSize(text).status().code(), StatusCode::kInvalidArgument) << text;
  }
}

TEST(FormatByteSize, KeepsThreeFigures) {
  EXPECT_EQ(FormatByteSize(0), "0 B");
  EXPECT_EQ(FormatByteSize(82ll << 20), "82.0 MiB");
  EXPECT_EQ(FormatByteSize(6'660'000'000), "6.20 GiB");
}

}  // namespace
}  // namespace ingot
