// Names of AutoencoderKL in the files that hold it.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "tensor/tensor_table.h"

namespace ingot::vae {

// The name in latent-diffusion of a tensor of a file; nothing when the tensor
// is not of a VAE. Files have these names or those of diffusers
// (`decoder.up_blocks.0.resnets.0.conv1.weight`), bare or under
// `first_stage_model.` or `vae.`. diffusers counts the decoder's levels from
// the latent up, so its names are read for four levels, as all published VAEs
// of Stable Diffusion and Flux have.
std::optional<std::string> CanonicalVaeName(std::string_view file_name);

// Whether a table of canonical names holds an AutoencoderKL.
bool LooksLikeVae(const TensorTable& table);

}  // namespace ingot::vae
