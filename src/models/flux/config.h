// Sizes of a FLUX.1 transformer, read from its tensors.
//
// Dimension letters, here and in layers.h, flux.h:
//   B batch   L tokens (Lt text, Li image)   D hidden_size   H num_heads
//   Dh = D/H head width   F MLP width
#pragma once

#include <array>
#include <cstdint>

#include "base/status.h"
#include "tensor/tensor_table.h"

namespace ingot::flux {

// The defaults are FLUX.1 dev. Names: black-forest-labs/flux model.py
// FluxParams, with mlp_ratio as the width itself.
struct FluxConfig {
  int64_t in_channels = 64;       // 16 latent channels * 2x2 patch; also of the output
  int64_t vec_in_dim = 768;       // CLIP-L pooled width
  int64_t context_in_dim = 4096;  // T5-XXL width
  int64_t hidden_size = 3072;
  int64_t mlp_hidden = 12288;
  int64_t num_heads = 24;
  int depth = 19;  // double blocks
  int depth_single_blocks = 38;
  std::array<int, 3> axes_dim = {16, 56, 56};  // RoPE widths; sum is Dh
  float theta = 10000.0f;
  bool qkv_bias = true;
  bool guidance_embed = true;  // false for schnell

  int64_t head_dim() const { return hidden_size / num_heads; }
};

// The config of the Flux in `table` (names: CanonicalFluxName). Every size that
// it returns builds a graph; that each weight has its shape is checked when the
// graph is bound to the file. kUnsupported names relatives that need other
// code: Chroma, Fill, Canny, Depth, and the layout of diffusers.
Result<FluxConfig> FluxConfigFromTensors(const TensorTable& table);

}  // namespace ingot::flux
