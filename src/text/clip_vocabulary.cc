// Parsers of CLIP's vocabulary: merges.txt, vocab.json, tokenizer.json, GGUF arrays.
#include <algorithm>
#include <utility>

#include "text/byte_alphabet.h"
#include "text/vocabulary.h"
#include "text/vocabulary_json.h"

namespace ingot {
namespace {

constexpr size_t kNumClipMerges = 48894;  // 49408 tokens without 2 x 256 bytes and 2 specials
constexpr size_t kMaxTokens = 1 << 22;    // beyond every vocabulary there is

Result<ClipMerge> ParseMerge(std::string_view name, std::string_view line) {
  const size_t space = line.find(' ');
  if (space == line.npos || space == 0 || space + 1 == line.size() ||
      line.find(' ', space + 1) != line.npos) {
    return Corruption("{}: merge '{}' is not two tokens", name, line.substr(0, 80));
  }
  return ClipMerge{std::string(line.substr(0, space)), std::string(line.substr(space + 1))};
}

Result<std::vector<ClipMerge>> ParseMergeLines(NamedBytes text) {
  std::vector<ClipMerge> merges;
  for (std::string_view rest = text.bytes; !rest.empty();) {
    const size_t end = rest.find('\n');
    std::string_view line = rest.substr(0, end);
    rest.remove_prefix(end == rest.npos ? rest.size() : end + 1);
    if (line.ends_with('\r')) line.remove_suffix(1);
    if (line.empty() || line.starts_with("#version")) continue;
    INGOT_ASSIGN_OR_RETURN(ClipMerge merge, ParseMerge(text.name, line));
    merges.push_back(std::move(merge));
  }
  return merges;
}

Status Place(std::string_view name, std::string token, int64_t id,
             std::vector<std::string>* tokens) {
  if (id < 0 || id >= static_cast<int64_t>(tokens->size())) {
    return Corruption("{}: id {} of token '{}' is beyond {} tokens", name, id, token,
                      tokens->size());
  }
  (*tokens)[id] = std::move(token);
  return Status();
}

// {"token": id, …} plus tokens added beside it; ids must be 0 … n-1.
Result<std::vector<std::string>> PlaceTokens(std::string_view name, const nlohmann::json& vocab,
                                             const std::vector<AddedToken>& added) {
  if (!vocab.is_object()) return Corruption("{}: an object of tokens and ids expected", name);
  const auto num_new = std::count_if(added.begin(), added.end(), [&](const AddedToken& token) {
    return !vocab.contains(token.content);
  });
  std::vector<std::string> tokens(vocab.size() + static_cast<size_t>(num_new));
  for (const auto& [token, id] : vocab.items()) {
    if (!id.is_number_integer()) return Corruption("{}: id of '{}' is no number", name, token);
    INGOT_RETURN_IF_ERROR(Place(name, token, id.get<int64_t>(), &tokens));
  }
  for (const AddedToken& token : added) {
    INGOT_RETURN_IF_ERROR(Place(name, token.content, token.id, &tokens));
  }
  const auto gap = std::find(tokens.begin(), tokens.end(), "");
  if (gap != tokens.end()) return Corruption("{}: no token {}", name, gap - tokens.begin());
  return tokens;
}

}  // namespace

Result<ClipVocabulary> ParseClipMerges(NamedBytes merges_txt) {
  ClipVocabulary vocabulary;
  INGOT_ASSIGN_OR_RETURN(vocabulary.merges, ParseMergeLines(merges_txt));
  if (vocabulary.merges.empty()) return Corruption("{}: no merges", merges_txt.name);
  if (vocabulary.merges.size() > kNumClipMerges) vocabulary.merges.resize(kNumClipMerges);
  const std::array<std::string, 256> alphabet = ByteAlphabet();
  const std::array<uint8_t, 256> order = ByteAlphabetOrder();
  for (const uint8_t byte : order) vocabulary.tokens.push_back(alphabet[byte]);
  for (const uint8_t byte : order) vocabulary.tokens.push_back(alphabet[byte] + "</w>");
  for (const ClipMerge& merge : vocabulary.merges) {
    vocabulary.tokens.push_back(merge.left + merge.right);
  }
  vocabulary.tokens.push_back("<|startoftext|>");
  vocabulary.tokens.push_back("<|endoftext|>");
  return vocabulary;
}

Result<ClipVocabulary> ParseClipVocabulary(NamedBytes vocab_json, NamedBytes merges_txt) {
  ClipVocabulary vocabulary;
  INGOT_ASSIGN_OR_RETURN(const nlohmann::json vocab, ParseJsonObject(vocab_json));
  INGOT_ASSIGN_OR_RETURN(vocabulary.tokens, PlaceTokens(vocab_json.name, vocab, {}));
  INGOT_ASSIGN_OR_RETURN(vocabulary.merges, ParseMergeLines(merges_txt));
  return vocabulary;
}

Result<ClipVocabulary> ParseClipTokenizerJson(NamedBytes tokenizer_json) {
  const std::string_view name = tokenizer_json.name;
  INGOT_ASSIGN_OR_RETURN(const nlohmann::json json, ParseJsonObject(tokenizer_json));
  INGOT_ASSIGN_OR_RETURN(const std::vector<AddedToken> added, AddedTokens(name, json));
  const nlohmann::json& model = Field(json, "model");
  if (!Field(model, "merges").is_array()) return Unsupported("{}: a BPE model expected", name);
  ClipVocabulary vocabulary;
  INGOT_ASSIGN_OR_RETURN(vocabulary.tokens, PlaceTokens(name, Field(model, "vocab"), added));
  for (const nlohmann::json& merge : Field(model, "merges")) {
    if (merge.is_string()) {
      INGOT_ASSIGN_OR_RETURN(ClipMerge pair, ParseMerge(name, merge.get_ref<const std::string&>()));
      vocabulary.merges.push_back(std::move(pair));
    } else if (merge.is_array() && merge.size() == 2 && merge[0].is_string() &&
               merge[1].is_string()) {
      vocabulary.merges.push_back({merge[0].get<std::string>(), merge[1].get<std::string>()});
    } else {
      return Corruption("{}: merge {} is not two tokens", name, vocabulary.merges.size());
    }
  }
  return vocabulary;
}

Result<ClipVocabulary> ClipVocabularyFromGguf(std::string_view name,
                                              std::span<const std::string> tokens,
                                              std::span<const std::string> merges) {
  if (tokens.empty() || tokens.size() > kMaxTokens) {
    return Corruption("{}: tokenizer.ggml.tokens holds {} tokens", name, tokens.size());
  }
  ClipVocabulary vocabulary{{tokens.begin(), tokens.end()}, {}};
  for (const std::string& line : merges) {
    INGOT_ASSIGN_OR_RETURN(ClipMerge merge, ParseMerge(name, line));
    vocabulary.merges.push_back(std::move(merge));
  }
  return vocabulary;
}

}  // namespace ingot
