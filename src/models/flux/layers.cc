#include "models/flux/layers.h"

#include <cmath>
#include <string>

namespace ingot::flux {
namespace {

constexpr float kEps = 1e-6f;  // layers.py, every norm

struct ModulationOut {  // each [B, 1, D]
  Value shift, scale, gate;
};

struct Heads {  // each [B, L, H, Dh]
  Value q, k, v;
};

// The `idx`-th (shift, scale, gate) of mod [B, 1, 3 * count * D].
ModulationOut Chunk(Graph& g, const FluxConfig& c, Value mod, int idx) {
  const int64_t d = c.hidden_size;
  const auto chunk = [&](int64_t i) { return g.Slice(mod, -1, i * d, (i + 1) * d); };
  return {chunk(3 * idx), chunk(3 * idx + 1), chunk(3 * idx + 2)};
}

// vec: [B, D] -> [B, 1, count * D]. A function of vec alone, so that it can be
// computed for all steps before the first.
Value Modulation(Graph& g, const FluxConfig& c, const Scope& w, Value vec, int64_t count) {
  const Value out = g.Linear(w, g.Silu(vec), count * c.hidden_size, {.sensitive = true});
  return g.Reshape(out, {g.shape(vec)[0], 1, count * c.hidden_size});
}

// (1 + scale) * norm(x) + shift
Value Modulate(Graph& g, Value x, Value shift, Value scale) {
  return g.Add(g.Mul(g.Affine(scale, 1.0f, 1.0f), g.LayerNorm(x, kEps)), shift);
}

// "B L (K H D) -> K B L H D", then QKNorm on q and k.
Heads SplitHeads(Graph& g, const FluxConfig& c, const Scope& norm, Value qkv) {
  const int64_t b = g.shape(qkv)[0], l = g.shape(qkv)[1], d = c.hidden_size, dh = c.head_dim();
  const auto head = [&](int64_t k) {
    return g.Reshape(g.Slice(qkv, -1, k * d, (k + 1) * d), {b, l, c.num_heads, dh});
  };
  const Value query_norm = g.Weight(norm / "query_norm", "scale", {dh});
  const Value key_norm = g.Weight(norm / "key_norm", "scale", {dh});
  return {g.RmsNorm(head(0), query_norm, kEps), g.RmsNorm(head(1), key_norm, kEps), head(2)};
}

// math.py attention. -> [B, L, D]
Value Attention(Graph& g, const FluxConfig& c, const Heads& h, Value pe) {
  const float scale = 1.0f / std::sqrt(static_cast<float>(c.head_dim()));
  const Value q = g.Rope(h.q, pe), k = g.Rope(h.k, pe);
  const Value x = g.Attention(q, k, h.v, {.scale = scale});
  return g.Reshape(x, {g.shape(x)[0], g.shape(x)[1], c.hidden_size});
}

Value Mlp(Graph& g, const FluxConfig& c, const Scope& w, Value x) {
  return g.Linear(w / 2, g.GeluTanh(g.Linear(w / 0, x, c.mlp_hidden)), c.hidden_size);
}

// One side of a double block ("img", "txt") before the joint attention.
struct Stream {
  ModulationOut mod1, mod2;
  Heads heads;
};

Stream PrepareStream(Graph& g, const FluxConfig& c, const Scope& w, const std::string& side,
                     Value x, Value vec) {
  const Value mod = Modulation(g, c, w / (side + "_mod") / "lin", vec, 6);
  const ModulationOut mod1 = Chunk(g, c, mod, 0);
  const ModulationOut mod2 = Chunk(g, c, mod, 1);
  const Scope attn = w / (side + "_attn");
  const Value modulated = Modulate(g, x, mod1.shift, mod1.scale);
  const Value qkv = g.Linear(attn / "qkv", modulated, 3 * c.hidden_size, {.bias = c.qkv_bias});
  return {mod1, mod2, SplitHeads(g, c, attn / "norm", qkv)};
}

// attn: [B, L, D], this side's rows of the joint attention.
Value FinishStream(Graph& g, const FluxConfig& c, const Scope& w, const std::string& side, Value x,
                   const Stream& s, Value attn) {
  const Value proj = g.Linear(w / (side + "_attn") / "proj", attn, c.hidden_size);
  x = g.Add(x, g.Mul(s.mod1.gate, proj));
  const Value modulated = Modulate(g, x, s.mod2.shift, s.mod2.scale);
  return g.Add(x, g.Mul(s.mod2.gate, Mlp(g, c, w / (side + "_mlp"), modulated)));
}

}  // namespace

Value MLPEmbedder(Graph& g, const FluxConfig& c, const Scope& w, Value x) {
  const LinearOptions sensitive = {.sensitive = true};
  const Value hidden = g.Silu(g.Linear(w / "in_layer", x, c.hidden_size, sensitive));
  return g.Linear(w / "out_layer", hidden, c.hidden_size, sensitive);
}

ImgTxt DoubleStreamBlock(Graph& g, const FluxConfig& c, const Scope& w, ImgTxt x,
                         const Conditioning& cond) {
  const Stream img = PrepareStream(g, c, w, "img", x.img, cond.vec);
  const Stream txt = PrepareStream(g, c, w, "txt", x.txt, cond.vec);
  const Heads joint = {g.Concat({txt.heads.q, img.heads.q}, 1),
                       g.Concat({txt.heads.k, img.heads.k}, 1),
                       g.Concat({txt.heads.v, img.heads.v}, 1)};
  const Value attn = Attention(g, c, joint, cond.pe);  // [B, Lt + Li, D]

  const int64_t lt = g.shape(x.txt)[1], l = g.shape(attn)[1];
  return {FinishStream(g, c, w, "img", x.img, img, g.Slice(attn, 1, lt, l)),
          FinishStream(g, c, w, "txt", x.txt, txt, g.Slice(attn, 1, 0, lt))};
}

Value SingleStreamBlock(Graph& g, const FluxConfig& c, const Scope& w, Value x,
                        const Conditioning& cond) {
  const int64_t d = c.hidden_size;
  const ModulationOut mod = Chunk(g, c, Modulation(g, c, w / "modulation" / "lin", cond.vec, 3), 0);
  const Value x_mod = Modulate(g, x, mod.shift, mod.scale);
  const Value linear1 = g.Linear(w / "linear1", x_mod, 3 * d + c.mlp_hidden);
  const Value qkv = g.Slice(linear1, -1, 0, 3 * d);
  const Value mlp = g.Slice(linear1, -1, 3 * d, 3 * d + c.mlp_hidden);
  const Value attn = Attention(g, c, SplitHeads(g, c, w / "norm", qkv), cond.pe);
  const Value output = g.Linear(w / "linear2", g.Concat({attn, g.GeluTanh(mlp)}, -1), d);
  return g.Add(x, g.Mul(mod.gate, output));
}

Value LastLayer(Graph& g, const FluxConfig& c, const Scope& w, Value x, Value vec) {
  const int64_t d = c.hidden_size;
  const Value mod = Modulation(g, c, w / "adaLN_modulation" / 1, vec, 2);
  const Value shift = g.Slice(mod, -1, 0, d);
  const Value scale = g.Slice(mod, -1, d, 2 * d);
  return g.Linear(w / "linear", Modulate(g, x, shift, scale), c.in_channels, {.sensitive = true});
}

}  // namespace ingot::flux
