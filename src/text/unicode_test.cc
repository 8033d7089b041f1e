// Facts about characters that the tokenizers rely on.
#include "text/unicode.h"

#include <gtest/gtest.h>

namespace ingot {
namespace {

TEST(Unicode, ByteThatIsNotUtf8BecomesTheReplacementCharacter) {
  EXPECT_EQ(DecodeUtf8("a\xff"
                       "b"),
            U"a\ufffdb");
  EXPECT_EQ(DecodeUtf8("\xe2\x82"), U"\ufffd\ufffd");
  EXPECT_EQ(DecodeUtf8("\xed\xa0\x80"), U"\ufffd\ufffd\ufffd");  // a surrogate
  EXPECT_EQ(EncodeUtf8(DecodeUtf8("€😀")), "€😀");
}

TEST(Unicode, NfcOrdersMarksAndComposes) {
  EXPECT_EQ(ComposeNfc(U"e\u0301"), U"\u00e9");
  EXPECT_EQ(ComposeNfc(U"a\u0301\u0323"), U"\u1ea1\u0301");
  EXPECT_EQ(ComposeNfc(U"\u1112\u1161\u11ab"), U"\ud55c");
  EXPECT_EQ(ComposeNfc(U"\u212b"), U"\u00c5");
}

TEST(Unicode, NfcOfTokenizersStopsAtMarksYoungerThanUnicode9) {
  EXPECT_EQ(ComposeNfc(U"a\u1abf\u0301"), U"a\u1abf\u0301");
  EXPECT_EQ(ComposeNfc(U"\U00011935\U00011930"), U"\U00011935\U00011930");
  EXPECT_EQ(ComposeNfc(U"\U00011938"), U"\U00011938");
}

TEST(Unicode, NfcOfManyMarksTakesNoQuadraticTime) {
  std::u32string marks;
  for (int i = 0; i < 200000; ++i) marks += i % 2 == 0 ? U'\u0301' : U'\u0323';
  EXPECT_EQ(ComposeNfc(U"q" + marks).size(), marks.size() + 1);  // minutes if quadratic
}

TEST(Unicode, LowerCaseHasNoContext) {
  EXPECT_EQ(ToLower(U"ΣΑΣ"), U"σασ");
  EXPECT_EQ(ToLower(U"\u0130\u1c89\ua7dc"), U"i\u0307\u1c8a\u019b");
}

TEST(Unicode, GraphemeKeepsItsMarksButNotThoseAfterAControl) {
  EXPECT_EQ(GraphemeLength(U"\r\nx"), 2u);
  EXPECT_EQ(GraphemeLength(U"e\u0301\u0897x"), 3u);
  EXPECT_EQ(GraphemeLength(U"\n\u0897"), 1u);
  EXPECT_EQ(GraphemeLength(U""), 0u);
}

}  // namespace
}  // namespace ingot
