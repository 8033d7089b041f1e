// The blocks of the FLUX.1 transformer.
//
// Follows black-forest-labs/flux src/flux/modules/layers.py, names included, so
// that the two can be read side by side. Dimension letters: config.h.
#pragma once

#include "graph/graph.h"
#include "models/flux/config.h"

namespace ingot::flux {

struct ImgTxt {
  Value img;  // [B, Li, D]
  Value txt;  // [B, Lt, D]
};

// What every block of a step has in common.
struct Conditioning {
  Value vec;  // [B, D]: timestep, guidance and pooled text
  Value pe;   // [B, Lt + Li, Dh/2, 2]: the rotations of Rope
};

// out_layer(silu(in_layer(x))). x: [B, any] -> [B, D]
Value MLPEmbedder(Graph& g, const FluxConfig& config, const Scope& w, Value x);

// Text and image keep weights of their own and attend to each other.
ImgTxt DoubleStreamBlock(Graph& g, const FluxConfig& config, const Scope& w, ImgTxt x,
                         const Conditioning& cond);

// Attention and MLP in parallel (arXiv:2302.05442). x: [B, L, D] -> [B, L, D]
Value SingleStreamBlock(Graph& g, const FluxConfig& config, const Scope& w, Value x,
                        const Conditioning& cond);

// x: [B, Li, D], vec: [B, D] -> [B, Li, in_channels]
Value LastLayer(Graph& g, const FluxConfig& config, const Scope& w, Value x, Value vec);

}  // namespace ingot::flux
