// Names of T5 encoders in the files that hold them.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "tensor/tensor_table.h"

namespace ingot::t5 {

// The name in transformers of a tensor of a file; nothing when the tensor is
// not of a T5 encoder. Files have these names or those of llama.cpp's GGUF
// (`enc.blk.N.attn_q.weight`), bare or under `text_encoders.t5xxl.transformer.`
// or `t5xxl.transformer.`. `encoder.embed_tokens.weight` is `shared.weight`:
// files that hold both hold it twice.
std::optional<std::string> CanonicalT5Name(std::string_view file_name);

// Whether a table of canonical names holds a T5 encoder.
bool LooksLikeT5(const TensorTable& table);

}  // namespace ingot::t5
