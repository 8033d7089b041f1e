// T5's unigram model: text to token ids, equal to transformers' T5TokenizerFast.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "text/charsmap.h"
#include "text/vocabulary.h"

namespace ingot {

// Immutable after Create; may be used from several threads.
class T5Tokenizer {
 public:
  // kCorruption when the vocabulary lacks "</s>", "<pad>" or its unknown piece, or the charsmap
  // contradicts itself.
  static Result<T5Tokenizer> Create(T5Vocabulary vocabulary);

  // Ids of `text` (UTF-8; wrong bytes count as U+FFFD) without the end token. Special pieces
  // ("</s>", "<extra_id_7>", …) written in the text are their tokens.
  std::vector<int32_t> Encode(std::string_view text) const;

  int32_t end_id() const { return end_id_; }
  int32_t pad_id() const { return pad_id_; }

 private:
  T5Tokenizer() = default;
  void EncodeOrdinary(std::string_view text, std::vector<int32_t>* ids) const;
  void EncodeWord(std::string_view word, std::vector<int32_t>* ids) const;

  std::vector<std::string> pieces_;
  std::vector<double> scores_;
  std::vector<int32_t> sorted_;    // ids in byte order of their pieces: the prefix search
  std::vector<int32_t> specials_;  // longest piece first
  Charsmap charsmap_;
  double unknown_score_ = 0;
  int32_t unknown_id_ = 0;
  int32_t end_id_ = 0;
  int32_t pad_id_ = 0;
};

}  // namespace ingot
