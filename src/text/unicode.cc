// utf8proc, and what Unicode 16 and 17 added after it.
#include "text/unicode.h"

#include <utf8proc.h>

#include <algorithm>
#include <iterator>
#include <vector>

namespace ingot {
namespace {

// Letters and numbers that Debian 12's utf8proc 2.8 (Unicode 15) does not know and tokenizers
// 0.23.3 does; found by asking both for every code point.
struct Range {
  char32_t first, last;
};
constexpr Range kNewLetters[] = {
    {0x1c89, 0x1c8a},   {0xa7cb, 0xa7cd},   {0xa7da, 0xa7dc},   {0x105c0, 0x105f3},
    {0x10d4a, 0x10d65}, {0x10d6f, 0x10d85}, {0x10ec2, 0x10ec4}, {0x11380, 0x11389},
    {0x1138b, 0x1138b}, {0x1138e, 0x1138e}, {0x11390, 0x113b5}, {0x113b7, 0x113b7},
    {0x113d1, 0x113d1}, {0x113d3, 0x113d3}, {0x11bc0, 0x11be0}, {0x13460, 0x143fa},
    {0x16100, 0x1611d}, {0x16d40, 0x16d6c}, {0x18cff, 0x18cff}, {0x1e5d0, 0x1e5ed},
    {0x1e5f0, 0x1e5f0}, {0x2ebf0, 0x2ee5d},
};
constexpr Range kNewNumbers[] = {
    {0x10d40, 0x10d49}, {0x116d0, 0x116e3}, {0x11bf0, 0x11bf9}, {0x16130, 0x16139},
    {0x16d70, 0x16d79}, {0x1ccf0, 0x1ccf9}, {0x1e5f1, 0x1e5fa},
};
// Capitals of Unicode 16 and 17, and how far their small letters are.
struct CaseRange {
  char32_t first, last;
  int32_t distance;
};
constexpr CaseRange kNewCapitals[] = {
    {0x1c89, 0x1c89, 1},      {0xa7cb, 0xa7cb, -0xa567}, {0xa7cc, 0xa7cc, 1},
    {0xa7ce, 0xa7ce, 1},      {0xa7d2, 0xa7d2, 1},       {0xa7d4, 0xa7d4, 1},
    {0xa7da, 0xa7da, 1},      {0xa7dc, 0xa7dc, -0xa641}, {0x10d50, 0x10d65, 0x20},
    {0x16ea0, 0x16eb8, 0x1b},
};

// Marks and compositions that Unicode had after 9.0, which the NFC of tokenizers does not know: for
// it they are barriers that nothing moves or composes across.
constexpr Range kNfcBarriers[] = {
    {0x7fd, 0x7fd},     {0x898, 0x89f},     {0x8ca, 0x8d3},     {0x9fe, 0x9fe},
    {0xc3c, 0xc3c},     {0xd3b, 0xd3c},     {0xeba, 0xeba},     {0x1715, 0x1715},
    {0x1abf, 0x1ace},   {0x1df6, 0x1dfa},   {0xa82c, 0xa82c},   {0x10d24, 0x10d27},
    {0x10eab, 0x10eac}, {0x10efd, 0x10eff}, {0x10f46, 0x10f50}, {0x10f82, 0x10f85},
    {0x11070, 0x11070}, {0x1133b, 0x1133b}, {0x1145e, 0x1145e}, {0x11839, 0x1183a},
    {0x11930, 0x11930}, {0x11938, 0x11938}, {0x1193d, 0x1193e}, {0x11943, 0x11943},
    {0x119e0, 0x119e0}, {0x11a34, 0x11a34}, {0x11a47, 0x11a47}, {0x11a99, 0x11a99},
    {0x11d42, 0x11d42}, {0x11d44, 0x11d45}, {0x11d97, 0x11d97}, {0x11f41, 0x11f42},
    {0x16ff0, 0x16ff1}, {0x1e08f, 0x1e08f}, {0x1e130, 0x1e136}, {0x1e2ae, 0x1e2ae},
    {0x1e2ec, 0x1e2ef}, {0x1e4ec, 0x1e4ef},
};
// Marks of Unicode 16 and 17 that extend a grapheme. Those beyond U+FFFF cannot matter: with them
// a grapheme is too long for the charsmap.
constexpr Range kNewExtenders[] = {{0x897, 0x897}, {0x1acf, 0x1add}, {0x1ae0, 0x1aeb}};

template <typename Table>
auto FindRange(const Table& table, char32_t c) {
  return std::find_if(std::begin(table), std::end(table),
                      [c](const auto& range) { return range.first <= c && c <= range.last; });
}

utf8proc_category_t Category(char32_t c) {
  return utf8proc_category(static_cast<utf8proc_int32_t>(c));
}

bool IsBarrier(char32_t c) { return FindRange(kNfcBarriers, c) != std::end(kNfcBarriers); }

void Decompose(char32_t c, std::vector<utf8proc_int32_t>* out) {
  utf8proc_int32_t parts[4] = {static_cast<utf8proc_int32_t>(c)};  // none has more than four
  utf8proc_ssize_t count = 1;
  int last_bound_class = 0;
  if (!IsBarrier(c)) {
    count = utf8proc_decompose_char(parts[0], parts, 4, UTF8PROC_DECOMPOSE, &last_bound_class);
  }
  out->insert(out->end(), parts, parts + std::clamp<utf8proc_ssize_t>(count, 0, 4));
}

// Puts runs of marks in canonical order (a stable sort, where utf8proc's own is quadratic),
// composes, and empties the segment.
void AppendComposed(std::vector<utf8proc_int32_t>* segment, std::u32string* out) {
  const auto mark_class = [](utf8proc_int32_t c) -> int {
    return IsBarrier(static_cast<char32_t>(c)) ? 0 : utf8proc_get_property(c)->combining_class;
  };
  for (auto run = segment->begin(); run != segment->end();) {
    run = std::find_if(run, segment->end(), [&](auto c) { return mark_class(c) != 0; });
    const auto end = std::find_if(run, segment->end(), [&](auto c) { return mark_class(c) == 0; });
    std::stable_sort(run, end, [&](auto a, auto b) { return mark_class(a) < mark_class(b); });
    run = end;
  }
  const auto length =
      utf8proc_normalize_utf32(segment->data(), static_cast<utf8proc_ssize_t>(segment->size()),
                               static_cast<utf8proc_option_t>(UTF8PROC_STABLE | UTF8PROC_COMPOSE));
  out->append(segment->begin(), segment->begin() + std::max<utf8proc_ssize_t>(length, 0));
  segment->clear();
}

bool EndsGraphemes(char32_t c) {  // GB4: a control character is never extended
  const auto bound_class = utf8proc_get_property(static_cast<utf8proc_int32_t>(c))->boundclass;
  return bound_class == UTF8PROC_BOUNDCLASS_CR || bound_class == UTF8PROC_BOUNDCLASS_LF ||
         bound_class == UTF8PROC_BOUNDCLASS_CONTROL;
}

}  // namespace

std::u32string DecodeUtf8(std::string_view text) {
  std::u32string out;
  for (size_t at = 0; at < text.size();) {
    utf8proc_int32_t c = -1;
    const utf8proc_ssize_t length =
        utf8proc_iterate(reinterpret_cast<const utf8proc_uint8_t*>(text.data()) + at,
                         static_cast<utf8proc_ssize_t>(text.size() - at), &c);
    out.push_back(length > 0 ? static_cast<char32_t>(c) : U'\ufffd');
    at += length > 0 ? static_cast<size_t>(length) : 1;
  }
  return out;
}

void AppendUtf8(char32_t character, std::string* out) {
  utf8proc_uint8_t bytes[4];
  const auto length = utf8proc_encode_char(static_cast<utf8proc_int32_t>(character), bytes);
  out->append(bytes, bytes + length);
}

std::string EncodeUtf8(std::u32string_view text) {
  std::string out;
  for (const char32_t c : text) AppendUtf8(c, &out);
  return out;
}

std::u32string ComposeNfc(std::u32string_view text) {
  std::u32string out;
  std::vector<utf8proc_int32_t> segment;  // decomposed, up to the next barrier
  for (const char32_t c : text) {
    if (IsBarrier(c)) AppendComposed(&segment, &out);
    Decompose(c, &segment);
  }
  AppendComposed(&segment, &out);
  return out;
}

std::u32string ToLower(std::u32string_view text) {
  std::u32string out;
  for (const char32_t c : text) {
    const auto range = FindRange(kNewCapitals, c);
    if (c == U'\u0130') {
      out += U"i\u0307";  // the one capital whose small letter is two characters
    } else if (range != std::end(kNewCapitals)) {
      out.push_back(static_cast<char32_t>(static_cast<int32_t>(c) + range->distance));
    } else {
      out.push_back(static_cast<char32_t>(utf8proc_tolower(static_cast<utf8proc_int32_t>(c))));
    }
  }
  return out;
}

bool IsLetter(char32_t c) {
  const utf8proc_category_t category = Category(c);
  return (category >= UTF8PROC_CATEGORY_LU && category <= UTF8PROC_CATEGORY_LO) ||
         FindRange(kNewLetters, c) != std::end(kNewLetters);
}

bool IsNumber(char32_t c) {
  const utf8proc_category_t category = Category(c);
  return (category >= UTF8PROC_CATEGORY_ND && category <= UTF8PROC_CATEGORY_NO) ||
         FindRange(kNewNumbers, c) != std::end(kNewNumbers);
}

bool IsDecimalDigit(char32_t c) { return Category(c) == UTF8PROC_CATEGORY_ND; }

bool IsSpace(char32_t c) {
  return (c >= 0x09 && c <= 0x0d) || c == 0x20 || c == 0x85 || c == 0xa0 || c == 0x1680 ||
         (c >= 0x2000 && c <= 0x200a) || c == 0x2028 || c == 0x2029 || c == 0x202f || c == 0x205f ||
         c == 0x3000;
}

size_t GraphemeLength(std::u32string_view text) {
  utf8proc_int32_t state = 0;
  for (size_t i = 1; i < text.size(); ++i) {
    const bool extends = FindRange(kNewExtenders, text[i]) != std::end(kNewExtenders);
    if (extends && !EndsGraphemes(text[i - 1])) continue;
    if (utf8proc_grapheme_break_stateful(static_cast<utf8proc_int32_t>(text[i - 1]),
                                         static_cast<utf8proc_int32_t>(text[i]), &state)) {
      return i;
    }
  }
  return text.size();
}

}  // namespace ingot
