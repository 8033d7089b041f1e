// The "parameters" text of A1111 and Forge, read: prompt, negative prompt, fields.
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace ingot::server {

struct Infotext {
  std::string prompt;
  std::string negative_prompt;
  std::vector<std::pair<std::string, std::string>> fields;  // "Steps", "20"

  // Empty when absent.
  std::string_view field(std::string_view name) const;
};

// Any text is one: what does not read as fields belongs to the prompt. "WxH" values become
// "Size-1" and "Size-2" as well. Source: modules/infotext_utils.py parse_generation_parameters.
Infotext ParseInfotext(std::string_view text);

}  // namespace ingot::server
