// Tokenizers of the text encoders: from the file, from beside it, or built in.
#pragma once

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

}  // namespace ingot
