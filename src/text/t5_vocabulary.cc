// Parsers of T5's vocabulary: spiece.model, tokenizer.json, GGUF arrays.
#include <algorithm>
#include <cmath>
#include <utility>

#include "text/protobuf.h"
#include "text/vocabulary.h"
#include "text/vocabulary_json.h"

namespace ingot {
namespace {

constexpr int kNumSentinels = 100;

void Append(T5Vocabulary* vocabulary, std::string piece, double score, PieceType type) {
  vocabulary->pieces.push_back(std::move(piece));
  vocabulary->scores.push_back(score);
  vocabulary->types.push_back(type);
}

void AddSentinels(T5Vocabulary* vocabulary) {
  const auto& pieces = vocabulary->pieces;
  if (std::find(pieces.begin(), pieces.end(), "<extra_id_0>") != pieces.end()) return;
  for (int i = kNumSentinels - 1; i >= 0; --i) {
    Append(vocabulary, fmt::format("<extra_id_{}>", i), 0, PieceType::kUserDefined);
  }
}

Result<PieceType> ToPieceType(std::string_view name, int64_t number) {
  if (number < 1 || number > 6) {
    return Corruption("{}: piece type 1 to 6 expected, found {}", name, number);
  }
  return static_cast<PieceType>(number);
}

Result<T5Vocabulary> Checked(std::string_view name, T5Vocabulary vocabulary) {
  const auto unknowns =
      std::count(vocabulary.types.begin(), vocabulary.types.end(), PieceType::kUnknown);
  if (unknowns != 1) return Corruption("{}: one unknown piece expected, found {}", name, unknowns);
  for (const std::string_view needed : {"</s>", "<pad>"}) {
    const auto& pieces = vocabulary.pieces;
    if (std::find(pieces.begin(), pieces.end(), needed) == pieces.end()) {
      return Corruption("{}: no piece '{}'", name, needed);
    }
  }
  for (size_t i = 0; i < vocabulary.scores.size(); ++i) {
    if (!std::isfinite(vocabulary.scores[i])) {
      return Corruption("{}: score of piece {} is {}", name, i, vocabulary.scores[i]);
    }
  }
  return vocabulary;
}

// SentencePiece of sentencepiece_model.proto: piece = 1, score = 2, type = 3.
Status ParsePiece(NamedBytes message, T5Vocabulary* vocabulary) {
  std::string piece;
  double score = 0;
  PieceType type = PieceType::kNormal;
  ProtobufReader reader(message);
  INGOT_ASSIGN_OR_RETURN(bool more, reader.Next());
  while (more) {
    if (reader.IsBytes(1)) piece = reader.bytes();
    if (reader.IsFixed32(2)) score = reader.AsFloat();
    if (reader.IsVarint(3)) {
      INGOT_ASSIGN_OR_RETURN(type,
                             ToPieceType(message.name, static_cast<int64_t>(reader.number())));
    }
    INGOT_ASSIGN_OR_RETURN(more, reader.Next());
  }
  Append(vocabulary, std::move(piece), score, type);
  return Status();
}

// TrainerSpec: model_type = 3, 1 is unigram (and the default).
Status CheckTrainer(NamedBytes message) {
  ProtobufReader reader(message);
  INGOT_ASSIGN_OR_RETURN(bool more, reader.Next());
  while (more) {
    if (reader.IsVarint(3) && reader.number() != 1) {
      return Unsupported("{}: a unigram model (1) expected, found type {}", message.name,
                         reader.number());
    }
    INGOT_ASSIGN_OR_RETURN(more, reader.Next());
  }
  return Status();
}

// NormalizerSpec: precompiled_charsmap = 2.
Status ParseNormalizer(NamedBytes message, T5Vocabulary* vocabulary) {
  ProtobufReader reader(message);
  INGOT_ASSIGN_OR_RETURN(bool more, reader.Next());
  while (more) {
    if (reader.IsBytes(2)) vocabulary->charsmap = reader.bytes();
    INGOT_ASSIGN_OR_RETURN(more, reader.Next());
  }
  return Status();
}

Status TakeCharsmap(std::string_view name, const nlohmann::json& normalizer,
                    T5Vocabulary* vocabulary) {
  const nlohmann::json& charsmap = Field(normalizer, "precompiled_charsmap");
  if (!charsmap.is_string()) return Status();
  INGOT_ASSIGN_OR_RETURN(vocabulary->charsmap,
                         DecodeBase64(name, charsmap.get_ref<const std::string&>()));
  return Status();
}

}  // namespace

// ModelProto: pieces = 1, trainer_spec = 2, normalizer_spec = 3.
Result<T5Vocabulary> ParseSentencePieceModel(NamedBytes spiece_model) {
  T5Vocabulary vocabulary;
  ProtobufReader reader(spiece_model);
  INGOT_ASSIGN_OR_RETURN(bool more, reader.Next());
  while (more) {
    const NamedBytes message{spiece_model.name, reader.bytes()};
    if (reader.IsBytes(1)) INGOT_RETURN_IF_ERROR(ParsePiece(message, &vocabulary));
    if (reader.IsBytes(2)) INGOT_RETURN_IF_ERROR(CheckTrainer(message));
    if (reader.IsBytes(3)) INGOT_RETURN_IF_ERROR(ParseNormalizer(message, &vocabulary));
    INGOT_ASSIGN_OR_RETURN(more, reader.Next());
  }
  AddSentinels(&vocabulary);
  return Checked(spiece_model.name, std::move(vocabulary));
}

Result<T5Vocabulary> ParseT5TokenizerJson(NamedBytes tokenizer_json) {
  const std::string_view name = tokenizer_json.name;
  INGOT_ASSIGN_OR_RETURN(const nlohmann::json json, ParseJsonObject(tokenizer_json));
  const nlohmann::json& model = Field(json, "model");
  const nlohmann::json& vocab = Field(model, "vocab");
  const nlohmann::json& unknown = Field(model, "unk_id");
  if (!vocab.is_array()) return Unsupported("{}: a Unigram model expected", name);
  T5Vocabulary vocabulary;
  for (const nlohmann::json& entry : vocab) {
    if (!entry.is_array() || entry.size() != 2 || !entry[0].is_string() || !entry[1].is_number()) {
      return Corruption("{}: piece {} is not [text, score]", name, vocabulary.pieces.size());
    }
    Append(&vocabulary, entry[0].get<std::string>(), entry[1].get<double>(), PieceType::kNormal);
  }
  INGOT_ASSIGN_OR_RETURN(const std::vector<AddedToken> added, AddedTokens(name, json));
  for (const AddedToken& token : added) {
    const auto size = static_cast<int64_t>(vocabulary.pieces.size());
    if (token.id == size) Append(&vocabulary, token.content, 0, PieceType::kUserDefined);
    if (token.id < 0 || token.id > size || vocabulary.pieces[token.id] != token.content) {
      return Corruption("{}: added token '{}' is not piece {}", name, token.content, token.id);
    }
    vocabulary.types[token.id] =
        token.content.starts_with("<extra_id_") ? PieceType::kUserDefined : PieceType::kControl;
  }
  if (!unknown.is_number_unsigned() || unknown.get<uint64_t>() >= vocabulary.pieces.size()) {
    return Corruption("{}: unk_id is not one of {} pieces", name, vocabulary.pieces.size());
  }
  vocabulary.types[unknown.get<size_t>()] = PieceType::kUnknown;
  const nlohmann::json& normalizer = Field(json, "normalizer");
  INGOT_RETURN_IF_ERROR(TakeCharsmap(name, normalizer, &vocabulary));
  for (const nlohmann::json& step : Field(normalizer, "normalizers")) {
    INGOT_RETURN_IF_ERROR(TakeCharsmap(name, step, &vocabulary));
  }
  return Checked(name, std::move(vocabulary));
}

Result<T5Vocabulary> T5VocabularyFromGguf(std::string_view name, const T5GgufMetadata& metadata) {
  if (metadata.model != "t5") {
    return Unsupported("{}: tokenizer.ggml.model 't5' expected, found '{}'", name, metadata.model);
  }
  size_t size = metadata.tokens.size();
  if (metadata.scores.size() != size || metadata.token_types.size() != size) {
    return Corruption("{}: {} tokens, {} scores and {} token types", name, size,
                      metadata.scores.size(), metadata.token_types.size());
  }
  while (size > 0 && metadata.token_types[size - 1] == static_cast<int>(PieceType::kUnused)) {
    --size;
  }
  T5Vocabulary vocabulary;
  for (size_t i = 0; i < size; ++i) {
    INGOT_ASSIGN_OR_RETURN(const PieceType type, ToPieceType(name, metadata.token_types[i]));
    Append(&vocabulary, metadata.tokens[i], metadata.scores[i], type);
  }
  vocabulary.charsmap.assign(metadata.charsmap.begin(), metadata.charsmap.end());
  AddSentinels(&vocabulary);
  return Checked(name, std::move(vocabulary));
}

}  // namespace ingot
