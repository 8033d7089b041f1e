// JSON with a Status instead of exceptions, for the vocabulary parsers of this folder.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <nlohmann/json.hpp>

#include "base/status.h"
#include "text/vocabulary.h"

namespace ingot {

// An object, or kCorruption.
Result<nlohmann::json> ParseJsonObject(NamedBytes text);

// object[key], or null where either is missing or of another kind.
const nlohmann::json& Field(const nlohmann::json& object, const char* key);

// One entry of tokenizer.json's "added_tokens".
struct AddedToken {
  std::string content;
  int64_t id;
};
Result<std::vector<AddedToken>> AddedTokens(std::string_view name, const nlohmann::json& tokenizer);

Result<std::string> DecodeBase64(std::string_view name, std::string_view text);

}  // namespace ingot
