// JSON lookups and base64 for vocabularies.
#include "text/vocabulary_json.h"

namespace ingot {
namespace {

int Base64Value(char c) {
  if (c >= 'A' && c <= 'Z') return c - 'A';
  if (c >= 'a' && c <= 'z') return c - 'a' + 26;
  if (c >= '0' && c <= '9') return c - '0' + 52;
  if (c == '+') return 62;
  return c == '/' ? 63 : -1;
}

}  // namespace

Result<nlohmann::json> ParseJsonObject(NamedBytes text) {
  nlohmann::json json = nlohmann::json::parse(text.bytes, nullptr, /*allow_exceptions=*/false);
  if (!json.is_object()) return Corruption("{}: a JSON object expected", text.name);
  return json;
}

const nlohmann::json& Field(const nlohmann::json& object, const char* key) {
  static const nlohmann::json null;
  if (!object.is_object()) return null;
  const auto found = object.find(key);
  return found == object.end() ? null : *found;
}

Result<std::vector<AddedToken>> AddedTokens(std::string_view name,
                                            const nlohmann::json& tokenizer) {
  std::vector<AddedToken> tokens;
  for (const nlohmann::json& entry : Field(tokenizer, "added_tokens")) {
    const nlohmann::json& content = Field(entry, "content");
    const nlohmann::json& id = Field(entry, "id");
    if (!content.is_string() || !id.is_number_integer()) {
      return Corruption("{}: added_tokens[{}] needs a content and an id", name, tokens.size());
    }
    tokens.push_back({content.get<std::string>(), id.get<int64_t>()});
  }
  return tokens;
}

Result<std::string> DecodeBase64(std::string_view name, std::string_view text) {
  while (text.ends_with('=')) text.remove_suffix(1);
  std::string out;
  uint32_t bits = 0;
  int num_bits = 0;
  for (const char c : text) {
    const int value = Base64Value(c);
    if (value < 0) return Corruption("{}: precompiled_charsmap is not base64", name);
    bits = (bits << 6 | static_cast<uint32_t>(value)) & 0xffffff;
    num_bits += 6;
    if (num_bits < 8) continue;
    num_bits -= 8;
    out += static_cast<char>(bits >> num_bits & 0xff);
  }
  return out;
}

}  // namespace ingot
