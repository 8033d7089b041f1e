// A prompt as the inputs of the text encoders, and the weights of its words.
#pragma once

#include <span>
#include <string_view>

#include "base/status.h"
#include "text/clip_tokenizer.h"
#include "text/prompt_tokens.h"
#include "text/t5_tokenizer.h"

namespace ingot {

struct PromptTokens {
  WeightedTokens clip;  // the first row of 77: Flux pools no other
  int32_t clip_end_idx = 0;
  WeightedTokens t5;
};

// kInvalidArgument for wrong prompt syntax, or a token that the encoder's
// table of `t5_rows` rows does not have.
Result<PromptTokens> TokenizePrompt(std::string_view prompt, const ClipTokenizer& clip,
                                    const T5Tokenizer& t5, size_t min_t5_tokens, int64_t t5_rows);

// Emphasis "Original" of A1111 and Forge: hidden [L, D] times the weight of its
// token, then rescaled to the mean that it had. Weights of 1 change no bit.
// Source: backend/text_processing/emphasis.py.
void ApplyEmphasis(std::span<const float> weights, std::span<float> hidden);

}  // namespace ingot
