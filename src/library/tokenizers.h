// Tokenizers of the text encoders: from the file, from beside it, or built in.
#pragma once

#include <memory>
#include <string>

#include "base/status.h"
#include "library/component.h"
#include "text/clip_tokenizer.h"
#include "text/t5_tokenizer.h"

namespace ingot {

// Vocabulary from the encoder's GGUF metadata; else the files in its folder
// (vocab.json + merges.txt or tokenizer.json; spiece.model or tokenizer.json);
// else the one compiled in, when the embedding table has its size. kNotFound
// says which file to put where. Ids are below the table's rows.
Result<ClipTokenizer> LoadClipTokenizer(const Component& clip);
Result<T5Tokenizer> LoadT5Tokenizer(const Component& t5);

// Changes with the encoder's file and with the vocabularies beside it.
std::string VocabularyVersion(const Component& encoder);

// The last of each, while its VocabularyVersion is what it was.
// 10 MiB and more for T5-XXL's. Not thread-safe.
class Tokenizers {
 public:
  Result<std::shared_ptr<const ClipTokenizer>> Clip(const Component& clip);
  Result<std::shared_ptr<const T5Tokenizer>> T5(const Component& t5);

 private:
  template <typename Tokenizer>
  struct Last {
    std::string version;  // of the files that it came from
    std::shared_ptr<const Tokenizer> tokenizer;
  };
  template <typename Tokenizer, typename Load>
  static Result<std::shared_ptr<const Tokenizer>> Get(Last<Tokenizer>& last,
                                                      const Component& encoder, const Load& load);

  Last<ClipTokenizer> clip_;
  Last<T5Tokenizer> t5_;
};

}  // namespace ingot
