// AutoencoderKL: pictures to latents of an eighth of their size, and back.
//
// Follows black-forest-labs/flux src/flux/modules/autoencoder.py, which is the
// autoencoder of latent-diffusion, weights by their names. Dimension letters:
// B batch, C channels, Z z_channels, h w latent size, H W picture size
// (H = h * 8 with four levels).
#pragma once

#include <cstdint>
#include <vector>

#include "base/status.h"
#include "graph/graph.h"
#include "tensor/tensor_table.h"

namespace ingot::vae {

// The defaults are the VAE of FLUX.1.
struct VaeConfig {
  int64_t z_channels = 16;
  std::vector<int64_t> block_out_channels = {128, 256, 512, 512};  // ch * ch_mult, a level each
  int num_res_blocks = 2;
  bool quant_conv = false;   // quant_conv and post_quant_conv are there (SD 1, 2, XL)
  bool linear_attn = false;  // weights of attn_1 are [C, C] (diffusers), not [C, C, 1, 1]

  // Picture pixels a latent pixel, along one side.
  int64_t scale() const { return int64_t{1} << (block_out_channels.size() - 1); }
};

// The config of the VAE in `table` (names: CanonicalVaeName); builds a graph
// for sure.
Result<VaeConfig> VaeConfigFromTensors(const TensorTable& table);

// What lies between the latents of a diffusion model and those of its VAE:
// model = scale_factor * (vae - shift_factor). A VAE file does not tell it.
struct LatentScaling {
  float scale_factor;
  float shift_factor;
};
inline constexpr LatentScaling kFluxLatents = {0.3611f, 0.1159f};
inline constexpr LatentScaling kSd15Latents = {0.18215f, 0.0f};
inline constexpr LatentScaling kSdxlLatents = {0.13025f, 0.0f};

// z: [B, h, w, Z], a latent of the diffusion model -> [B, H, W, 3]; -1 is
// black and 1 white, not clamped.
Value Decode(Graph& g, const VaeConfig& config, const Scope& w, Value z, LatentScaling latents);

// The Gaussian of DiagonalGaussian, each [B, h, w, Z], in the VAE's own scale.
struct Moments {
  Value mean;
  Value logvar;
};

// x: [B, H, W, 3] in [-1, 1], H and W multiples of scale().
Moments Encode(Graph& g, const VaeConfig& config, const Scope& w, Value x);

}  // namespace ingot::vae
