// Names of FLUX.1 transformers in the files that hold them.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "tensor/tensor_table.h"

namespace ingot::flux {

// The reference's name of a tensor of a file; nothing when the tensor is not of
// a Flux transformer. Files hold it bare, or under `model.diffusion_model.`
// beside the other components. Names of relatives (Chroma, diffusers) pass
// unchanged, for FluxConfigFromTensors to refuse them by name.
std::optional<std::string> CanonicalFluxName(std::string_view file_name);

// Whether a table of canonical names holds a Flux transformer or such a relative.
bool LooksLikeFlux(const TensorTable& table);

}  // namespace ingot::flux
