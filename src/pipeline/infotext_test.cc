#include "pipeline/infotext.h"

#include <gtest/gtest.h>

namespace ingot {
namespace {

TEST(QuoteInfotextValue, QuotesOnlyWhatWouldSplitTheLine) {
  EXPECT_EQ(QuoteInfotextValue("flux1-dev-Q8_0"), "flux1-dev-Q8_0");
  EXPECT_EQ(QuoteInfotextValue("a, b"), "\"a, b\"");
  EXPECT_EQ(QuoteInfotextValue("say: \"x\""), "\"say: \\\"x\\\"\"");
  EXPECT_EQ(QuoteInfotextValue("two\nlines"), "\"two\\nlines\"");
}

}  // namespace
}  // namespace ingot
