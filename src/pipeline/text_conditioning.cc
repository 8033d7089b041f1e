#include "pipeline/text_conditioning.h"

#include <algorithm>
#include <numeric>

namespace ingot {
namespace {

double Sum(std::span<const float> values) {
  return std::accumulate(values.begin(), values.end(), 0.0);
}

}  // namespace

Result<PromptTokens> TokenizePrompt(std::string_view prompt, const ClipTokenizer& clip,
                                    const T5Tokenizer& t5, size_t min_t5_tokens, int64_t t5_rows) {
  INGOT_ASSIGN_OR_RETURN(const std::vector<PromptSegment> segments,
                         ParsePrompt(StripComments(prompt), Emphasis::kOriginal));
  PromptTokens tokens{.clip = ClipRows(clip, segments).front(),
                      .t5 = T5Row(t5, segments, min_t5_tokens)};
  const auto end = std::find(tokens.clip.ids.begin(), tokens.clip.ids.end(), clip.end_id());
  INGOT_CHECK(end != tokens.clip.ids.end());  // every row ends with it
  tokens.clip_end_idx = static_cast<int32_t>(end - tokens.clip.ids.begin());
  const int32_t largest = *std::max_element(tokens.t5.ids.begin(), tokens.t5.ids.end());
  if (largest >= t5_rows) {
    return InvalidArgument(
        "prompt: expected T5 tokens below {}, found {} (a sentinel that this "
        "encoder does not have)",
        t5_rows, largest);
  }
  return tokens;
}

void ApplyEmphasis(std::span<const float> weights, std::span<float> hidden) {
  if (std::all_of(weights.begin(), weights.end(), [](float w) { return w == 1.0f; })) return;
  const size_t width = hidden.size() / weights.size();
  const double sum_before = Sum(hidden);
  for (size_t token = 0; token < weights.size(); ++token) {
    for (float& value : hidden.subspan(token * width, width)) value *= weights[token];
  }
  const double sum_after = Sum(hidden);
  if (sum_after == 0.0) return;
  const auto factor = static_cast<float>(sum_before / sum_after);
  for (float& value : hidden) value *= factor;
}

}  // namespace ingot
