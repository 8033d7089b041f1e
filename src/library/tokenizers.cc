#include "library/tokenizers.h"

#include <filesystem>

#include "base/file.h"
#include "text/builtin_vocabulary.h"

namespace ingot {
namespace {

namespace fs = std::filesystem;

// CLIP-L's and T5 v1.1's embedding tables: only these take the built-in vocabulary.
constexpr int64_t kClipRows = 49408;
constexpr int64_t kT5Rows = 32128;

bool Exists(const fs::path& path) {
  std::error_code ignored;
  return fs::is_regular_file(path, ignored);
}

fs::path Beside(const Component& encoder, const char* name) {
  return fs::path(encoder.path()).parent_path() / name;
}

// A tokenizer.json may belong to the other encoder of the folder.
bool HoldsModel(const std::string& tokenizer_json, std::string_view type) {
  return tokenizer_json.find(fmt::format("\"type\": \"{}\"", type)) != std::string::npos ||
         tokenizer_json.find(fmt::format("\"type\":\"{}\"", type)) != std::string::npos;
}

Result<ClipVocabulary> FindClipVocabulary(const Component& clip, int64_t rows) {
  const Metadata& metadata = clip.tensors.file->metadata();
  const auto* tokens = metadata.FindStrings("tokenizer.ggml.tokens");
  const auto* merges = metadata.FindStrings("tokenizer.ggml.merges");
  if (tokens != nullptr && merges != nullptr) {
    return ClipVocabularyFromGguf(clip.path(), *tokens, *merges);
  }
  const fs::path vocab_path = Beside(clip, "vocab.json");
  const fs::path merges_path = Beside(clip, "merges.txt");
  if (Exists(vocab_path) && Exists(merges_path)) {
    INGOT_ASSIGN_OR_RETURN(const std::string vocab, ReadSmallFile(vocab_path));
    INGOT_ASSIGN_OR_RETURN(const std::string merge_text, ReadSmallFile(merges_path));
    return ParseClipVocabulary({vocab_path.native(), vocab}, {merges_path.native(), merge_text});
  }
  if (const fs::path path = Beside(clip, "tokenizer.json"); Exists(path)) {
    INGOT_ASSIGN_OR_RETURN(const std::string text, ReadSmallFile(path));
    if (HoldsModel(text, "BPE")) return ParseClipTokenizerJson({path.native(), text});
  }
  if (rows != kClipRows) {
    return NotFound("{}: expected vocab.json and merges.txt beside it ({} tokens), found none",
                    clip.path(), rows);
  }
  Result<ClipVocabulary> builtin = BuiltinClipVocabulary();
  if (!builtin.ok()) return NotFound("{}: {}", clip.path(), builtin.status().message());
  return builtin;
}

Result<T5Vocabulary> FindT5Vocabulary(const Component& t5, int64_t rows) {
  const Metadata& metadata = t5.tensors.file->metadata();
  if (const auto* tokens = metadata.FindStrings("tokenizer.ggml.tokens")) {
    const auto* model = metadata.FindString("tokenizer.ggml.model");
    std::vector<float> scores;
    for (double score :
         metadata.FindFloats("tokenizer.ggml.scores").value_or(std::vector<double>{}))
      scores.push_back(static_cast<float>(score));
    std::vector<int32_t> types;
    for (int64_t type :
         metadata.FindInts("tokenizer.ggml.token_type").value_or(std::vector<int64_t>{}))
      types.push_back(static_cast<int32_t>(type));
    std::vector<uint8_t> charsmap;
    for (int64_t byte :
         metadata.FindInts("tokenizer.ggml.precompiled_charsmap").value_or(std::vector<int64_t>{}))
      charsmap.push_back(static_cast<uint8_t>(byte));
    return T5VocabularyFromGguf(t5.path(), {.model = model != nullptr ? *model : "",
                                            .tokens = *tokens,
                                            .scores = scores,
                                            .token_types = types,
                                            .charsmap = charsmap});
  }
  if (const fs::path path = Beside(t5, "spiece.model"); Exists(path)) {
    INGOT_ASSIGN_OR_RETURN(const std::string text, ReadSmallFile(path));
    return ParseSentencePieceModel({path.native(), text});
  }
  if (const fs::path path = Beside(t5, "tokenizer.json"); Exists(path)) {
    INGOT_ASSIGN_OR_RETURN(const std::string text, ReadSmallFile(path));
    if (HoldsModel(text, "Unigram")) return ParseT5TokenizerJson({path.native(), text});
  }
  if (rows != kT5Rows) {
    return NotFound("{}: expected spiece.model beside it ({} tokens), found none", t5.path(), rows);
  }
  Result<T5Vocabulary> builtin = BuiltinT5Vocabulary();
  if (!builtin.ok()) return NotFound("{}: {}", t5.path(), builtin.status().message());
  return builtin;
}

// An id beyond the table would read past it.
Status CheckFits(const Component& encoder, size_t num_tokens, int64_t rows) {
  if (static_cast<int64_t>(num_tokens) <= rows) return {};
  return Corruption(
      "{}: expected a vocabulary of at most {} tokens, the rows of the embedding "
      "table, found {}",
      encoder.path(), rows, num_tokens);
}

}  // namespace

Result<ClipTokenizer> LoadClipTokenizer(const Component& clip) {
  const int64_t rows = clip.As<clip::ClipConfig>().vocab_size;
  INGOT_ASSIGN_OR_RETURN(const ClipVocabulary vocabulary, FindClipVocabulary(clip, rows));
  INGOT_RETURN_IF_ERROR(CheckFits(clip, vocabulary.tokens.size(), rows));
  return ClipTokenizer::Create(vocabulary);
}

Result<T5Tokenizer> LoadT5Tokenizer(const Component& t5) {
  const int64_t rows = t5.As<t5::T5Config>().vocab_size;
  INGOT_ASSIGN_OR_RETURN(T5Vocabulary vocabulary, FindT5Vocabulary(t5, rows));
  // The sentinels <extra_id_N> may stand past the table of a small encoder; they
  // are refused where a prompt uses one.
  if (rows == kT5Rows) {
    INGOT_RETURN_IF_ERROR(CheckFits(t5, vocabulary.pieces.size(), rows));
  }
  return T5Tokenizer::Create(std::move(vocabulary));
}

std::string VocabularyVersion(const Component& encoder) {
  std::string version = encoder.tensors.file->file().identity();
  for (const char* name : {"vocab.json", "merges.txt", "tokenizer.json", "spiece.model"}) {
    version += ' ';
    version += FileVersion(Beside(encoder, name));
  }
  return version;
}

template <typename Tokenizer, typename Load>
Result<std::shared_ptr<const Tokenizer>> Tokenizers::Get(Last<Tokenizer>& last,
                                                         const Component& encoder,
                                                         const Load& load) {
  const std::string version = VocabularyVersion(encoder);
  if (!last.tokenizer || last.version != version) {
    INGOT_ASSIGN_OR_RETURN(Tokenizer loaded, load(encoder));
    last = {version, std::make_shared<const Tokenizer>(std::move(loaded))};
  }
  return last.tokenizer;
}

Result<std::shared_ptr<const ClipTokenizer>> Tokenizers::Clip(const Component& clip) {
  return Get(clip_, clip, LoadClipTokenizer);
}

Result<std::shared_ptr<const T5Tokenizer>> Tokenizers::T5(const Component& t5) {
  return Get(t5_, t5, LoadT5Tokenizer);
}

}  // namespace ingot
