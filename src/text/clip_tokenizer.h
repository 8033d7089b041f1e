// CLIP's byte-level BPE: text to token ids, equal to transformers' CLIPTokenizerFast.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "base/status.h"
#include "text/vocabulary.h"

namespace ingot {

// Immutable after Create; may be used from several threads.
class ClipTokenizer {
 public:
  // kCorruption when a merge or a special token is not in the vocabulary.
  static Result<ClipTokenizer> Create(const ClipVocabulary& vocabulary);

  // Ids of `text` (UTF-8; wrong bytes count as U+FFFD) without begin and end. Text is composed
  // (NFC), white space collapsed, lowered; "<|startoftext|>" and "<|endoftext|>" are tokens.
  std::vector<int32_t> Encode(std::string_view text) const;

  int32_t begin_id() const { return begin_id_; }
  int32_t end_id() const { return end_id_; }      // also pads, and stands for the unknown
  int32_t comma_id() const { return comma_id_; }  // ",</w>", or -1: where long prompts may break

 private:
  struct Merge {
    int32_t rank;
    int32_t id;  // of the merged token
  };

  ClipTokenizer() = default;
  void EncodeOrdinary(std::string_view text, std::vector<int32_t>* ids) const;
  void EncodeWord(std::string_view word, std::vector<int32_t>* ids) const;
  const Merge* FindMerge(int32_t left, int32_t right) const;

  std::unordered_map<uint64_t, Merge> merges_;  // key: left id in the high half, right in the low
  std::array<int32_t, 256> byte_ids_{};
  std::array<int32_t, 256> last_byte_ids_{};  // of a word: with "</w>"
  int32_t begin_id_ = 0;
  int32_t end_id_ = 0;
  int32_t comma_id_ = -1;
};

}  // namespace ingot
