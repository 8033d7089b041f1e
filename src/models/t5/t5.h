// T5 v1.1 text encoder: token ids to one vector a token.
//
// Follows transformers models/t5/modeling_t5.py (T5EncoderModel), weights by
// its names. No mask: Flux attends to the padding as well.
// Dimension letters: B batch, L tokens, V vocabulary, D d_model, H num_heads,
// Dh d_kv (H * Dh need not be D), F d_ff.
#pragma once

#include <cstdint>

#include "base/status.h"
#include "graph/graph.h"
#include "tensor/tensor_table.h"

namespace ingot::t5 {

// The defaults are T5-XXL v1.1.
struct T5Config {
  int64_t vocab_size = 32128;
  int64_t d_model = 4096;
  int64_t d_kv = 64;
  int64_t d_ff = 10240;
  int64_t num_heads = 64;
  int64_t relative_attention_num_buckets = 32;
  int num_layers = 24;
};

// The config of the encoder in `table` (names: CanonicalT5Name); builds a graph
// for sure. kUnsupported names T5 v1.0 (ungated) and UMT5 (a bias a layer).
Result<T5Config> T5ConfigFromTensors(const TensorTable& table);

// input_ids: [B, L] i32, each below vocab_size -> [B, L, D].
Value T5Encoder(Graph& g, const T5Config& config, const Scope& w, Value input_ids);

}  // namespace ingot::t5
