// Vocabularies of the text encoders as plain data, and the parsers of every file they come in.
//
// Nothing here is trusted: bad bytes give a Status that names the source, what was expected and
// what was found. Ids are dense: a token's id is its index.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"

namespace ingot {

// Bytes to parse and the name their errors carry (a path, or "built-in vocabulary").
struct NamedBytes {
  std::string_view name;
  std::string_view bytes;
};

// Two tokens that become one; the index in ClipVocabulary::merges is the rank, lowest first.
struct ClipMerge {
  std::string left;
  std::string right;
  bool operator==(const ClipMerge&) const = default;
};

// Tokens are in GPT-2's byte alphabet, "</w>" ends a word.
struct ClipVocabulary {
  std::vector<std::string> tokens;
  std::vector<ClipMerge> merges;
  bool operator==(const ClipVocabulary&) const = default;
};

// merges.txt alone. The tokens follow from it (clip/simple_tokenizer.py): 256 bytes, the same with
// "</w>", the merges (at most 48894, as many as CLIP was trained with), two specials.
Result<ClipVocabulary> ParseClipMerges(NamedBytes merges_txt);

// vocab.json and merges.txt, as transformers writes them.
Result<ClipVocabulary> ParseClipVocabulary(NamedBytes vocab_json, NamedBytes merges_txt);

// tokenizer.json whose model is BPE.
Result<ClipVocabulary> ParseClipTokenizerJson(NamedBytes tokenizer_json);

// GGUF arrays `tokenizer.ggml.tokens` and `.merges` ("left right").
Result<ClipVocabulary> ClipVocabularyFromGguf(std::string_view name,
                                              std::span<const std::string> tokens,
                                              std::span<const std::string> merges);

// Numbers as in sentencepiece_model.proto and in GGUF's `tokenizer.ggml.token_type`.
enum class PieceType : uint8_t {
  kNormal = 1,
  kUnknown = 2,
  kControl = 3,
  kUserDefined = 4,
  kUnused = 5,
  kByte = 6,
};

// Exactly one piece is kUnknown; "</s>" and "<pad>" are there.
struct T5Vocabulary {
  std::vector<std::string> pieces;
  std::vector<double> scores;  // log probability of each piece
  std::vector<PieceType> types;
  std::string charsmap;  // sentencepiece's precompiled normaliser; empty: text is left as it is
  bool operator==(const T5Vocabulary&) const = default;
};

// spiece.model (protobuf). The 100 sentinels <extra_id_99> … <extra_id_0> follow the pieces, as in
// transformers' T5Tokenizer.
Result<T5Vocabulary> ParseSentencePieceModel(NamedBytes spiece_model);

// tokenizer.json whose model is Unigram.
Result<T5Vocabulary> ParseT5TokenizerJson(NamedBytes tokenizer_json);

// GGUF arrays of a T5 encoder; all of the same length but the charsmap.
struct T5GgufMetadata {
  std::string_view model;                // tokenizer.ggml.model: "t5"
  std::span<const std::string> tokens;   // tokenizer.ggml.tokens
  std::span<const float> scores;         // tokenizer.ggml.scores
  std::span<const int32_t> token_types;  // tokenizer.ggml.token_type
  std::span<const uint8_t> charsmap;     // tokenizer.ggml.precompiled_charsmap
};

// Unused pieces at the end, which only pad the embedding table, are dropped; sentinels are added
// where the converter left them out. So a GGUF made from spiece.model gives what spiece.model
// gives.
Result<T5Vocabulary> T5VocabularyFromGguf(std::string_view name, const T5GgufMetadata& metadata);

}  // namespace ingot
