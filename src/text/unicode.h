// The few facts of Unicode that tokenizers stand on: UTF-8, NFC, case, classes, graphemes.
//
// utf8proc gives them. Where its Unicode (15) is not that of tokenizers 0.23.3 (9 for NFC, 17 for
// the rest), unicode.cc follows tokenizers; both were compared code point by code point.
#pragma once

#include <string>
#include <string_view>

namespace ingot {

// A byte that is not UTF-8 becomes U+FFFD.
std::u32string DecodeUtf8(std::string_view text);
void AppendUtf8(char32_t character, std::string* out);
std::string EncodeUtf8(std::u32string_view text);

std::u32string ComposeNfc(std::u32string_view text);

// Lower case by itself, without context: a final sigma is no special case.
std::u32string ToLower(std::u32string_view text);

bool IsLetter(char32_t c);        // \p{L}
bool IsNumber(char32_t c);        // \p{N}
bool IsDecimalDigit(char32_t c);  // \p{Nd}
bool IsSpace(char32_t c);         // White_Space

// Length in characters of the grapheme cluster (UAX 29) that starts `text`; 0 for no text.
size_t GraphemeLength(std::u32string_view text);

}  // namespace ingot
