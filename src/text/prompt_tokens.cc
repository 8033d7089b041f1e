// Rows of tokens for CLIP and T5.
#include "text/prompt_tokens.h"

#include <utility>

namespace ingot {
namespace {

constexpr size_t kCommaReach = 20;  // Forge: comma_padding_backtrack
constexpr size_t kNoComma = static_cast<size_t>(-1);

void Append(WeightedTokens* row, int32_t id, double weight) {
  row->ids.push_back(id);
  row->weights.push_back(static_cast<float>(weight));
}

class ClipRowBuilder {
 public:
  explicit ClipRowBuilder(const ClipTokenizer& tokenizer) : tokenizer_(tokenizer) {}

  void Add(int32_t id, double weight) {
    const size_t length = text_.ids.size();
    if (id == tokenizer_.comma_id()) {
      last_comma_ = length;
    } else if (length == kClipChunkTokens && last_comma_ != kNoComma &&
               length - last_comma_ <= kCommaReach) {
      BreakAfterComma();
    }
    if (text_.ids.size() == kClipChunkTokens) FinishRow();
    Append(&text_, id, weight);
  }

  void FinishRow() {
    WeightedTokens row;
    Append(&row, tokenizer_.begin_id(), 1);
    row.ids.insert(row.ids.end(), text_.ids.begin(), text_.ids.end());
    row.weights.insert(row.weights.end(), text_.weights.begin(), text_.weights.end());
    while (row.ids.size() < kClipChunkTokens + 2) Append(&row, tokenizer_.end_id(), 1);
    rows_.push_back(std::move(row));
    text_ = {};
    last_comma_ = kNoComma;
  }

  std::vector<WeightedTokens> TakeRows() {
    if (!text_.ids.empty() || rows_.empty()) FinishRow();
    return std::move(rows_);
  }

 private:
  void BreakAfterComma() {
    const auto split = static_cast<std::ptrdiff_t>(last_comma_ + 1);
    WeightedTokens moved{{text_.ids.begin() + split, text_.ids.end()},
                         {text_.weights.begin() + split, text_.weights.end()}};
    text_.ids.resize(last_comma_ + 1);
    text_.weights.resize(last_comma_ + 1);
    FinishRow();
    text_ = std::move(moved);
  }

  const ClipTokenizer& tokenizer_;
  WeightedTokens text_;  // of the row in work
  size_t last_comma_ = kNoComma;
  std::vector<WeightedTokens> rows_;
};

}  // namespace

std::vector<WeightedTokens> ClipRows(const ClipTokenizer& tokenizer,
                                     std::span<const PromptSegment> prompt) {
  ClipRowBuilder builder(tokenizer);
  for (const PromptSegment& segment : prompt) {
    if (IsBreak(segment)) {
      builder.FinishRow();
      continue;
    }
    for (const int32_t id : tokenizer.Encode(segment.text)) builder.Add(id, segment.weight);
  }
  return builder.TakeRows();
}

WeightedTokens T5Row(const T5Tokenizer& tokenizer, std::span<const PromptSegment> prompt,
                     size_t min_tokens) {
  WeightedTokens row;
  for (const PromptSegment& segment : prompt) {
    if (IsBreak(segment)) continue;
    for (const int32_t id : tokenizer.Encode(segment.text)) Append(&row, id, segment.weight);
  }
  Append(&row, tokenizer.end_id(), 1);
  while (row.ids.size() < min_tokens) Append(&row, tokenizer.pad_id(), 1);
  return row;
}

}  // namespace ingot
