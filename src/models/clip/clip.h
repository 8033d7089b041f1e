// CLIP text encoder: token ids to one vector a token, and one for the text.
//
// Follows transformers models/clip/modeling_clip.py (CLIPTextModel), weights by
// its names. Dimension letters: B batch, L tokens (77), V vocabulary, D
// hidden_size, H = D/64 heads, F intermediate_size.
#pragma once

#include <cstdint>

#include "base/status.h"
#include "graph/graph.h"
#include "tensor/tensor_table.h"

namespace ingot::clip {

inline constexpr int64_t kHeadDim = 64;  // of every published CLIP text encoder

// The defaults are CLIP-L (openai/clip-vit-large-patch14).
struct ClipConfig {
  int64_t vocab_size = 49408;
  int64_t max_position_embeddings = 77;
  int64_t hidden_size = 768;
  int64_t intermediate_size = 3072;
  int num_hidden_layers = 12;

  int64_t num_heads() const { return hidden_size / kHeadDim; }
};

// The config of the encoder in `table` (names: CanonicalClipName); builds a
// graph for sure. kUnsupported names OpenCLIP H and bigG, whose activation is
// another.
Result<ClipConfig> ClipConfigFromTensors(const TensorTable& table);

struct ClipInputs {
  Value input_ids;  // [B, L] i32, each below vocab_size; L <= max_position_embeddings
  Value eos_idx;    // [B] i32: position of the first end-of-text token
};

struct ClipOutputs {
  Value hidden_state;       // [B, L, D] after the last layer that ran
  Value last_hidden_state;  // [B, L, D]: final_layer_norm of it
  Value pooler_output;      // [B, D]: the row of last_hidden_state at eos_idx
};

// Runs the first `num_layers` layers: all of them, or one less a step of CLIP
// skip; at least 1, at most num_hidden_layers.
ClipOutputs ClipText(Graph& g, const ClipConfig& config, const Scope& w, const ClipInputs& in,
                     int num_layers);

}  // namespace ingot::clip
