#include "models/clip/clip.h"

#include <cmath>

#include "base/check.h"

namespace ingot::clip {
namespace {

constexpr float kEps = 1e-5f;  // layer_norm_eps of every CLIP

Value ClipAttention(Graph& g, const ClipConfig& c, const Scope& w, Value x) {
  const int64_t b = g.shape(x)[0], l = g.shape(x)[1], d = c.hidden_size;
  const auto heads = [&](const char* name) {
    return g.Reshape(g.Linear(w / name, x, d), {b, l, c.num_heads(), kHeadDim});
  };
  const Value q = heads("q_proj"), k = heads("k_proj"), v = heads("v_proj");
  const float scale = 1.0f / std::sqrt(static_cast<float>(kHeadDim));
  const Value attn = g.Attention(q, k, v, {.scale = scale, .causal = true});
  return g.Linear(w / "out_proj", g.Reshape(attn, {b, l, d}), d);
}

Value ClipMlp(Graph& g, const ClipConfig& c, const Scope& w, Value x) {
  const Value hidden = g.QuickGelu(g.Linear(w / "fc1", x, c.intermediate_size));
  return g.Linear(w / "fc2", hidden, c.hidden_size);
}

Value ClipEncoderLayer(Graph& g, const ClipConfig& c, const Scope& w, Value x) {
  const Value normed = g.LayerNorm(w / "layer_norm1", x, kEps);
  x = g.Add(x, ClipAttention(g, c, w / "self_attn", normed));
  const Value normed2 = g.LayerNorm(w / "layer_norm2", x, kEps);
  return g.Add(x, ClipMlp(g, c, w / "mlp", normed2));
}

// Token and position embeddings, added.
Value ClipTextEmbeddings(Graph& g, const ClipConfig& c, const Scope& w, Value ids) {
  const int64_t l = g.shape(ids)[1], d = c.hidden_size;
  const Value tokens = g.Weight(w / "token_embedding", "weight", {c.vocab_size, d});
  const Value positions =
      g.Weight(w / "position_embedding", "weight", {c.max_position_embeddings, d});
  const Value x = g.Embedding(ids, tokens);
  return g.Add(x, g.Reshape(g.Slice(positions, 0, 0, l), {1, l, d}));
}

}  // namespace

ClipOutputs ClipText(Graph& g, const ClipConfig& c, const Scope& w, const ClipInputs& in,
                     int num_layers) {
  INGOT_CHECK(1 <= num_layers && num_layers <= c.num_hidden_layers);
  const Scope text_model = w / "text_model";
  Value x = ClipTextEmbeddings(g, c, text_model / "embeddings", in.input_ids);
  for (int i = 0; i < num_layers; ++i) {
    x = ClipEncoderLayer(g, c, text_model / "encoder" / "layers" / i, x);
  }
  const Value last_hidden_state = g.LayerNorm(text_model / "final_layer_norm", x, kEps);
  return {x, last_hidden_state, g.TakeRow(last_hidden_state, in.eos_idx)};
}

}  // namespace ingot::clip
