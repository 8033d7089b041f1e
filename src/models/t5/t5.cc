#include "models/t5/t5.h"

namespace ingot::t5 {
namespace {

constexpr float kEps = 1e-6f;  // layer_norm_epsilon of every T5

Value T5LayerNorm(Graph& g, const Scope& w, Value x) {
  return g.RmsNorm(x, g.Weight(w, "weight", {g.shape(x).back()}), kEps);
}

// No scale on the scores: T5 has it in the weights. position_bias: [1, H, L, L].
Value T5Attention(Graph& g, const T5Config& c, const Scope& w, Value x, Value position_bias) {
  const int64_t b = g.shape(x)[0], l = g.shape(x)[1], inner_dim = c.num_heads * c.d_kv;
  const auto heads = [&](const char* name) {
    const Value y = g.Linear(w / name, x, inner_dim, {.bias = false});
    return g.Reshape(y, {b, l, c.num_heads, c.d_kv});
  };
  const Value q = heads("q"), k = heads("k"), v = heads("v");
  const Value attn = g.Attention(q, k, v, position_bias, {});
  const Value joined = g.Reshape(attn, {b, l, inner_dim});
  return g.Linear(w / "o", joined, c.d_model, {.bias = false});
}

// T5DenseGatedActDense with gelu_new.
Value DenseReluDense(Graph& g, const T5Config& c, const Scope& w, Value x) {
  const Value gate = g.GeluTanh(g.Linear(w / "wi_0", x, c.d_ff, {.bias = false}));
  const Value up = g.Linear(w / "wi_1", x, c.d_ff, {.bias = false});
  return g.Linear(w / "wo", g.Mul(gate, up), c.d_model, {.bias = false});
}

Value T5Block(Graph& g, const T5Config& c, const Scope& w, Value x, Value position_bias) {
  const Scope attention = w / "layer" / 0, feed_forward = w / "layer" / 1;
  const Value normed = T5LayerNorm(g, attention / "layer_norm", x);
  x = g.Add(x, T5Attention(g, c, attention / "SelfAttention", normed, position_bias));
  const Value normed2 = T5LayerNorm(g, feed_forward / "layer_norm", x);
  return g.Add(x, DenseReluDense(g, c, feed_forward / "DenseReluDense", normed2));
}

}  // namespace

Value T5Encoder(Graph& g, const T5Config& c, const Scope& w, Value input_ids) {
  const Value shared = g.Weight(w / "shared", "weight", {c.vocab_size, c.d_model});
  Value x = g.Embedding(input_ids, shared);

  // The first block's bias serves all.
  const Scope encoder = w / "encoder";
  const Scope bias = encoder / "block" / 0 / "layer" / 0 / "SelfAttention";
  const Value table = g.Weight(bias / "relative_attention_bias", "weight",
                               {c.relative_attention_num_buckets, c.num_heads});
  const Value position_bias = g.RelativePositionBias(table, {.length = g.shape(input_ids)[1]});

  for (int i = 0; i < c.num_layers; ++i) {
    x = T5Block(g, c, encoder / "block" / i, x, position_bias);
  }
  return T5LayerNorm(g, encoder / "final_layer_norm", x);
}

}  // namespace ingot::t5
