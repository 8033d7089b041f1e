// Scanner of the prompt syntax; the alternatives stand in the order of Forge's re_attention.
#include "text/prompt.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <limits>
#include <optional>
#include <utility>

#include "text/unicode.h"

namespace ingot {
namespace {

constexpr std::u32string_view kBreak = U"BREAK";

// Python's str.isspace: White_Space and the four information separators.
bool IsPythonSpace(char32_t c) { return IsSpace(c) || (c >= 0x1c && c <= 0x1f); }
bool IsWordCharacter(char32_t c) { return IsLetter(c) || IsNumber(c) || c == U'_'; }

size_t SkipSpace(std::u32string_view text, size_t at) {
  while (at < text.size() && IsPythonSpace(text[at])) ++at;
  return at;
}

// Digits of every script count, as in Python: they come in runs of ten from zero up.
char DigitOf(char32_t c) {
  char32_t first = c;
  while (first > 0 && IsDecimalDigit(first - 1)) --first;
  return static_cast<char>('0' + (c - first) % 10);
}

struct WeightMark {
  size_t length;       // in characters, of ":1.3)"
  std::string number;  // in ASCII
};

// :\s*([+-]?[.\d]+)\s*\)
std::optional<WeightMark> MatchWeight(std::u32string_view text) {
  if (!text.starts_with(U':')) return std::nullopt;
  size_t at = SkipSpace(text, 1);
  std::string number;
  if (at < text.size() && (text[at] == U'+' || text[at] == U'-')) {
    number = static_cast<char>(text[at++]);
  }
  const size_t first_digit = at;
  for (; at < text.size() && (text[at] == U'.' || IsDecimalDigit(text[at])); ++at) {
    number += text[at] == U'.' ? '.' : DigitOf(text[at]);
  }
  if (at == first_digit) return std::nullopt;
  at = SkipSpace(text, at);
  if (at == text.size() || text[at] != U')') return std::nullopt;
  return WeightMark{at + 1, std::move(number)};
}

Result<double> ParseWeight(const std::string& number) {
  char* end = nullptr;
  const double weight = std::strtod(number.c_str(), &end);
  if (end != number.c_str() + number.size()) {
    return InvalidArgument("prompt: the weight in ':{})' is not a number", number);
  }
  return weight;
}

class Parser {
 public:
  Status Parse(std::u32string_view text) {
    while (!text.empty()) {
      const std::optional<WeightMark> mark = MatchWeight(text);
      const size_t length = mark ? mark->length : TokenLength(text);
      const std::u32string_view token = text.substr(0, length);
      text.remove_prefix(length);
      if (mark && !round_.empty()) {
        INGOT_ASSIGN_OR_RETURN(const double weight, ParseWeight(mark->number));
        Close(&round_, weight);
      } else {
        Take(token);
      }
    }
    for (const size_t start : round_) Multiply(start, kRound);
    for (const size_t start : square_) Multiply(start, kSquare);
    return Status();
  }

  std::vector<PromptSegment> TakeMerged() {
    std::vector<PromptSegment> merged;
    for (PromptSegment& segment : segments_) {
      if (!merged.empty() && merged.back().weight == segment.weight) {
        merged.back().text += segment.text;
      } else {
        merged.push_back(std::move(segment));
      }
    }
    if (merged.empty()) merged.emplace_back();
    return merged;
  }

 private:
  static constexpr double kRound = 1.1;
  static constexpr double kSquare = 1 / 1.1;
  static constexpr std::u32string_view kMarks = U"\\()[]:";

  static size_t TokenLength(std::u32string_view text) {
    if (text[0] == U'\\') {
      const bool escapes =
          text.size() > 1 && std::u32string_view(U"()[]\\").find(text[1]) != text.npos;
      return escapes ? 2 : 1;
    }
    if (kMarks.find(text[0]) != text.npos) return 1;
    return std::min(text.find_first_of(kMarks), text.size());
  }

  void Take(std::u32string_view token) {
    if (token[0] == U'\\') {
      segments_.push_back({EncodeUtf8(token.substr(1)), 1});
    } else if (token == U"(") {
      round_.push_back(segments_.size());
    } else if (token == U"[") {
      square_.push_back(segments_.size());
    } else if (token == U")" && !round_.empty()) {
      Close(&round_, kRound);
    } else if (token == U"]" && !square_.empty()) {
      Close(&square_, kSquare);
    } else {
      TakeText(token);
    }
  }

  // Splits at \s*\bBREAK\b\s*.
  void TakeText(std::u32string_view text) {
    size_t from = 0;
    for (size_t at = 0; (at = text.find(kBreak, at)) != text.npos;) {
      const size_t end = at + kBreak.size();
      const bool starts = at == 0 || !IsWordCharacter(text[at - 1]);
      const bool ends = end == text.size() || !IsWordCharacter(text[end]);
      if (!starts || !ends) {
        ++at;
        continue;
      }
      size_t until = at;
      while (until > from && IsPythonSpace(text[until - 1])) --until;
      segments_.push_back({EncodeUtf8(text.substr(from, until - from)), 1});
      segments_.push_back({EncodeUtf8(kBreak), -1});
      from = at = SkipSpace(text, end);
    }
    segments_.push_back({EncodeUtf8(text.substr(from)), 1});
  }

  void Close(std::vector<size_t>* open, double factor) {
    Multiply(open->back(), factor);
    open->pop_back();
  }

  void Multiply(size_t start, double factor) {
    for (size_t i = start; i < segments_.size(); ++i) segments_[i].weight *= factor;
  }

  std::vector<PromptSegment> segments_;
  std::vector<size_t> round_;  // first segment inside each open bracket
  std::vector<size_t> square_;
};

struct CommentKind {
  bool whole_lines;
};

// Python's re.sub('(^|\n)#[^\n]*(\n|$)', '\n') for whole lines, re.sub('#[^\n]*(\n|$)', '\n') else.
std::string CutComments(std::string_view text, CommentKind kind) {
  std::string out;
  for (size_t at = 0; at < text.size();) {
    const bool on_line = !kind.whole_lines || at == 0;
    const size_t mark = on_line && text[at] == '#' ? at : at + 1;
    if (mark > at && !(kind.whole_lines && text.substr(at).starts_with("\n#"))) {
      out += text[at++];
      continue;
    }
    const size_t end = text.find('\n', mark);
    out += '\n';
    at = end == text.npos ? text.size() : end + 1;
  }
  return out;
}

}  // namespace

bool IsBreak(const PromptSegment& segment) {
  return segment.text == "BREAK" && segment.weight == -1;
}

Result<std::vector<PromptSegment>> ParsePrompt(std::string_view prompt, Emphasis emphasis) {
  const std::u32string text = DecodeUtf8(prompt);
  if (emphasis == Emphasis::kNone) return std::vector<PromptSegment>{{EncodeUtf8(text), 1}};
  Parser parser;
  INGOT_RETURN_IF_ERROR(parser.Parse(text));
  std::vector<PromptSegment> segments = parser.TakeMerged();
  for (const PromptSegment& segment : segments) {
    if (!(std::abs(segment.weight) <= std::numeric_limits<float>::max())) {
      return InvalidArgument("prompt: a weight of at most 3.4e38 expected, found {} for '{}'",
                             segment.weight, segment.text);
    }
  }
  return segments;
}

std::string StripComments(std::string_view prompt) {
  return CutComments(CutComments(prompt, {.whole_lines = true}), {.whole_lines = false});
}

}  // namespace ingot
