// FLUX.1 transformer: predicts the flow velocity of an image latent.
//
// Follows black-forest-labs/flux src/flux/model.py line for line; functions,
// fields, inputs and weights have the reference's names. Dimension letters: config.h.
#pragma once

#include <cstdint>

#include "graph/graph.h"
#include "models/flux/config.h"

namespace ingot::flux {

struct FluxInputs {
  Value img;        // [B, Li, in_channels]: patches of 2x2 latent pixels, channel first
  Value img_ids;    // [B, Li, 3]: (0, row, column) of the patch
  Value txt;        // [B, Lt, context_in_dim]: T5
  Value txt_ids;    // [B, Lt, 3]: zeros
  Value timesteps;  // [B]: 1 is pure noise
  Value y;          // [B, vec_in_dim]: CLIP pooled
  Value guidance;   // [B], 3.5 by default in dev; only if guidance_embed
};

struct FluxShape {
  int64_t batch = 1;
  int64_t txt_tokens = 256;
  int64_t img_tokens = 4096;  // (height / 16) * (width / 16)
};

// Inputs of those shapes, named as the fields of FluxInputs.
FluxInputs DeclareFluxInputs(Graph& g, const FluxConfig& config, const FluxShape& shape);

// The velocity, [B, Li, in_channels]. `config` comes from FluxConfigFromTensors.
Value Flux(Graph& g, const FluxConfig& config, const Scope& w, const FluxInputs& in);

}  // namespace ingot::flux
