// The "parameters" text of a picture, as AUTOMATIC1111 and Forge write it.
#pragma once

#include <string>
#include <string_view>

#include "pipeline/job.h"

namespace ingot {

// Prompt, "Negative prompt: …" when there is one, then one line "Key: value, …"
// in Forge's order (research: modules/processing.py create_infotext).
// `model_hash` is the SHA-256 of the diffusion file in hex; its first ten
// letters are written.
std::string MakeInfotext(const Job& job, uint64_t picture_seed, std::string_view model_hash);

// A value as it stands in the line: JSON-quoted when it holds a comma, a colon
// or a newline (modules/infotext_utils.py quote).
std::string QuoteInfotextValue(std::string_view value);

}  // namespace ingot
