// One vocabulary comes out of every file form, and damaged bytes give a Status.
#include "text/vocabulary.h"

#include <random>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "text/clip_tokenizer.h"
#include "text/t5_tokenizer.h"

namespace ingot {
namespace {

constexpr std::string_view kMerges = "#version: 0.2\nf o\nfo x</w>\n";

nlohmann::json VocabJson(const ClipVocabulary& vocabulary) {
  nlohmann::json json = nlohmann::json::object();
  for (size_t id = 0; id < vocabulary.tokens.size(); ++id) json[vocabulary.tokens[id]] = id;
  return json;
}

std::string ClipTokenizerJson() {
  const ClipVocabulary vocabulary = *ParseClipMerges({"merges", kMerges});
  nlohmann::json json;
  json["model"] = {{"type", "BPE"}, {"vocab", VocabJson(vocabulary)}};
  json["model"]["merges"] = {"f o", {"fo", "x</w>"}};  // both forms HF has written
  json["added_tokens"] = {{{"id", 515}, {"content", "<|endoftext|>"}, {"special", true}}};
  return json.dump();
}

// A charsmap of one entry: "A" becomes "b". Root offset 0x42 ^ 'A' = unit 3.
std::string TinyCharsmap() {
  std::vector<uint32_t> units(256, 0);
  units[0] = 1u << 10;                      // offset 1: child 'A' is unit 1 ^ 0x41 = 0x40
  units[0x40] = 0x41 | 1u << 8 | 2u << 10;  // label 'A', has a leaf at unit 0x40 ^ 2
  units[0x42] = 0x80000000u;                // value 0: the first replacement
  std::string blob = {0, 4, 0, 0};          // 1024 bytes
  for (const uint32_t unit : units) {
    for (int shift = 0; shift < 32; shift += 8) blob += static_cast<char>(unit >> shift);
  }
  return blob + std::string("b\0", 2);
}

T5Vocabulary TinyT5() {
  T5Vocabulary vocabulary{{"<pad>", "</s>", "<unk>", "\u2581", "b", "\u2581b"},
                          {0, 0, 0, -2, -3, -4},
                          {PieceType::kControl, PieceType::kControl, PieceType::kUnknown,
                           PieceType::kNormal, PieceType::kNormal, PieceType::kNormal},
                          TinyCharsmap()};
  for (int i = 99; i >= 0; --i) {
    vocabulary.pieces.push_back(fmt::format("<extra_id_{}>", i));
    vocabulary.scores.push_back(0);
    vocabulary.types.push_back(PieceType::kUserDefined);
  }
  return vocabulary;
}

std::string Bytes(int field, const std::string& content) {
  std::string out(1, static_cast<char>(field << 3 | 2));
  for (size_t size = content.size();; size >>= 7) {
    out += static_cast<char>((size & 0x7f) | (size > 0x7f ? 0x80 : 0));
    if (size <= 0x7f) return out + content;
  }
}

std::string SpieceModel() {
  std::string model;
  const T5Vocabulary vocabulary = TinyT5();
  for (size_t i = 0; i < 6; ++i) {
    const auto score = static_cast<float>(vocabulary.scores[i]);
    std::string piece = Bytes(1, vocabulary.pieces[i]) + "\x15";
    piece.append(reinterpret_cast<const char*>(&score), 4);
    model += Bytes(1, piece + "\x18" + static_cast<char>(vocabulary.types[i]));
  }
  return model + Bytes(2, "\x18\x01") + Bytes(3, Bytes(2, vocabulary.charsmap));
}

std::string Base64(const std::string& bytes) {
  const char* digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string out;
  for (size_t at = 0; at < bytes.size() * 8; at += 6) {
    uint32_t value = 0;
    for (size_t bit = at; bit < at + 6; ++bit) {
      value = value << 1 | (bit / 8 < bytes.size() ? bytes[bit / 8] >> (7 - bit % 8) & 1 : 0);
    }
    out += digits[value];
  }
  return out;
}

std::string T5TokenizerJson() {
  const T5Vocabulary vocabulary = TinyT5();
  nlohmann::json json;
  json["model"] = {{"type", "Unigram"}, {"unk_id", 2}, {"vocab", nlohmann::json::array()}};
  json["added_tokens"] = nlohmann::json::array();
  for (size_t id = 0; id < vocabulary.pieces.size(); ++id) {
    json["model"]["vocab"].push_back({vocabulary.pieces[id], vocabulary.scores[id]});
    if (vocabulary.types[id] == PieceType::kNormal) continue;
    json["added_tokens"].push_back({{"id", id}, {"content", vocabulary.pieces[id]}});
  }
  json["normalizer"]["normalizers"] = {
      {{"type", "Precompiled"}, {"precompiled_charsmap", Base64(vocabulary.charsmap)}}};
  return json.dump();
}

TEST(ClipVocabulary, IsTheSameFromEveryFile) {
  const ClipVocabulary expected = *ParseClipMerges({"merges", kMerges});
  EXPECT_EQ(expected.tokens.size(), 516u);
  EXPECT_EQ(*ParseClipVocabulary({"vocab", VocabJson(expected).dump()}, {"merges", kMerges}),
            expected);
  EXPECT_EQ(*ParseClipTokenizerJson({"json", ClipTokenizerJson()}), expected);
  const std::vector<std::string> merges = {"f o", "fo x</w>"};
  EXPECT_EQ(*ClipVocabularyFromGguf("gguf", expected.tokens, merges), expected);
}

TEST(T5Vocabulary, IsTheSameFromEveryFile) {
  EXPECT_EQ(*ParseSentencePieceModel({"spiece", SpieceModel()}), TinyT5());
  EXPECT_EQ(*ParseT5TokenizerJson({"json", T5TokenizerJson()}), TinyT5());
}

TEST(T5Vocabulary, GgufPaddingIsDroppedAndSentinelsAreAdded) {
  const T5Vocabulary expected = TinyT5();
  std::vector<std::string> tokens(expected.pieces.begin(), expected.pieces.begin() + 6);
  std::vector<float> scores(expected.scores.begin(), expected.scores.begin() + 6);
  std::vector<int32_t> types = {3, 3, 2, 1, 1, 1};
  for (int i = 0; i < 128; ++i) {
    tokens.push_back("[PAD]");
    scores.push_back(-10000);
    types.push_back(5);
  }
  const std::vector<uint8_t> charsmap(expected.charsmap.begin(), expected.charsmap.end());
  T5GgufMetadata metadata{"t5", tokens, scores, types, charsmap};
  EXPECT_EQ(*T5VocabularyFromGguf("gguf", metadata), expected);
  metadata.model = "gpt2";
  EXPECT_EQ(T5VocabularyFromGguf("gguf", metadata).status().code(), StatusCode::kUnsupported);
  metadata.model = "t5";
  metadata.scores = metadata.scores.first(3);
  EXPECT_EQ(T5VocabularyFromGguf("gguf", metadata).status().code(), StatusCode::kCorruption);
}

TEST(T5Vocabulary, CharsmapAndSpecialsAct) {
  const T5Tokenizer tokenizer = *T5Tokenizer::Create(TinyT5());
  EXPECT_EQ(tokenizer.Encode("A b</s>xyz"), (std::vector<int32_t>{5, 5, 1, 3, 2}));
}

TEST(Vocabulary, ErrorsNameTheFile) {
  for (const Status& status :
       {ParseClipMerges({"file.x", "one two three\n"}).status(),
        ParseClipVocabulary({"file.x", "{\"a\": 7}"}, {"m", kMerges}).status(),
        ParseClipTokenizerJson({"file.x", "[]"}).status(),
        ParseSentencePieceModel({"file.x", "\x0a\xff"}).status(),
        ParseT5TokenizerJson({"file.x", "{}"}).status()}) {
    EXPECT_TRUE(status.message().starts_with("file.x: ")) << status.message();
  }
}

// Whatever the bytes are, a parser returns, and so does a tokenizer made of what it returned.
void Use(const Result<ClipVocabulary>& vocabulary) {
  if (!vocabulary.ok()) return;
  const auto tokenizer = ClipTokenizer::Create(*vocabulary);
  if (tokenizer.ok()) (void)tokenizer->Encode("A fox's fox, 12 <|endoftext|> \xff");
}
void Use(const Result<T5Vocabulary>& vocabulary) {
  if (!vocabulary.ok()) return;
  const auto tokenizer = T5Tokenizer::Create(*vocabulary);
  if (tokenizer.ok()) (void)tokenizer->Encode("A fox </s> b\u0301 \xff");
}

template <typename Parse>
void Damage(const std::string& sound, Parse parse) {
  std::mt19937 random(1);
  for (size_t length = 0; length < sound.size(); length += 1 + sound.size() / 500) {
    Use(parse(sound.substr(0, length)));
  }
  for (int round = 0; round < 2000; ++round) {
    std::string damaged = sound;
    for (int flips = 1 + static_cast<int>(random() % 8); flips > 0; --flips) {
      damaged[random() % damaged.size()] = static_cast<char>(random());
    }
    Use(parse(damaged));
  }
}

TEST(Vocabulary, DamagedBytesGiveAStatusOrAVocabularyThatWorks) {
  const std::string merges(kMerges);
  const std::string vocab = VocabJson(*ParseClipMerges({"m", kMerges})).dump();
  Damage(merges, [](const std::string& b) { return ParseClipMerges({"m", b}); });
  Damage(vocab, [](const std::string& b) { return ParseClipVocabulary({"v", b}, {"m", kMerges}); });
  Damage(ClipTokenizerJson(), [](const std::string& b) {
    return ParseClipTokenizerJson({"j", b});
  });
  Damage(SpieceModel(), [](const std::string& b) { return ParseSentencePieceModel({"s", b}); });
  Damage(T5TokenizerJson(), [](const std::string& b) { return ParseT5TokenizerJson({"j", b}); });
}

}  // namespace
}  // namespace ingot
