// A weighted prompt as the token ids and weights that the text encoders take.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "text/clip_tokenizer.h"
#include "text/prompt.h"
#include "text/t5_tokenizer.h"

namespace ingot {

// One row of an encoder's input; both vectors have one length.
struct WeightedTokens {
  std::vector<int32_t> ids;
  std::vector<float> weights;  // 1 for begin, end and padding
};

inline constexpr size_t kClipChunkTokens = 75;  // of text; a row adds begin and end: 77

// Rows of 77: begin, up to 75 tokens, end to fill. A row that is full breaks after its last comma
// when that is among its last 20 tokens; BREAK starts the next. At least one row; Flux pools the
// first. Source: backend/text_processing/classic_engine.py of Forge.
std::vector<WeightedTokens> ClipRows(const ClipTokenizer& tokenizer,
                                     std::span<const PromptSegment> prompt);

// One row: every segment's tokens, the end token, padding up to `min_tokens` (Flux: 256); longer
// prompts are not cut. Source: backend/text_processing/t5_engine.py of Forge, where text after a
// BREAK is lost; here BREAK only parts words.
WeightedTokens T5Row(const T5Tokenizer& tokenizer, std::span<const PromptSegment> prompt,
                     size_t min_tokens);

}  // namespace ingot
