// Names of CLIP text encoders in the files that hold them.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "tensor/tensor_table.h"

namespace ingot::clip {

// The name in transformers of a tensor of a file; nothing when the tensor is
// not one that a CLIP-L text encoder needs (position_ids, logit_scale and
// text_projection are not). Files have these names bare, or under a prefix of
// Forge, ComfyUI, Stable Diffusion 1 or XL; the oldest leave out `text_model.`.
std::optional<std::string> CanonicalClipName(std::string_view file_name);

// Whether a table of canonical names holds a CLIP text encoder.
bool LooksLikeClip(const TensorTable& table);

}  // namespace ingot::clip
