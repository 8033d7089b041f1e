// Prompt syntax of AUTOMATIC1111 and Forge: text to segments with weights.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"

namespace ingot {

// How weights act. What is done with the encoders' output is the pipeline's affair; here kNone
// alone differs, in that brackets are text.
enum class Emphasis { kOriginal, kNoNorm, kIgnore, kNone };

struct PromptSegment {
  std::string text;
  double weight = 1;
  bool operator==(const PromptSegment&) const = default;
};

// A segment that starts a new chunk instead of being text: "BREAK" of weight -1.
bool IsBreak(const PromptSegment& segment);

// (text) is 1.1 times as strong, [text] 1.1 times weaker, (text:1.3) 1.3 times; nesting
// multiplies; a backslash makes the next bracket text; BREAK is a segment of its own. Neighbours
// of one weight are one segment; there is at least one. kInvalidArgument names a weight such as
// 1.2.3, or one that a float cannot hold. Source: backend/text_processing/parsing.py of Forge.
Result<std::vector<PromptSegment>> ParsePrompt(std::string_view prompt, Emphasis emphasis);

// Without comments: what stands between a "#" and the end of its line. Source: strip_comments in
// modules/processing_scripts/comments.py of Forge.
std::string StripComments(std::string_view prompt);

}  // namespace ingot
