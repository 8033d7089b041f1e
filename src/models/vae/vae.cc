#include "models/vae/vae.h"

#include <cmath>

namespace ingot::vae {
namespace {

constexpr int kNumGroups = 32;
constexpr float kEps = 1e-6f;  // autoencoder.py, every norm
constexpr op::Conv2d kSame = {.pad_top = 1, .pad_left = 1, .pad_bottom = 1, .pad_right = 1};
constexpr op::Conv2d kHalve = {.stride = 2, .pad_bottom = 1, .pad_right = 1};

Value Norm(Graph& g, const Scope& w, Value x) { return g.GroupNorm(w, x, kNumGroups, kEps); }

// x: [B, h, w, C] -> [B, h, w, out]
Value ResnetBlock(Graph& g, const Scope& w, Value x, int64_t out) {
  Value h = g.Conv2d(w / "conv1", g.Silu(Norm(g, w / "norm1", x)), out, 3, kSame);
  h = g.Conv2d(w / "conv2", g.Silu(Norm(g, w / "norm2", h)), out, 3, kSame);
  if (g.shape(x).back() != out) x = g.Conv2d(w / "nin_shortcut", x, out, 1, {});
  return g.Add(x, h);
}

// A linear map of every pixel, [B, h, w, C] -> the same.
Value Project(Graph& g, const VaeConfig& c, const Scope& w, Value x) {
  const int64_t channels = g.shape(x).back();
  return c.linear_attn ? g.Linear(w, x, channels) : g.Conv2d(w, x, channels, 1, {});
}

// One head over all pixels.
Value AttnBlock(Graph& g, const VaeConfig& c, const Scope& w, Value x) {
  const Shape s = g.shape(x);
  const Value normed = Norm(g, w / "norm", x);
  const auto pixels = [&](const char* name) {  // [B, h * w, 1, C]
    return g.Reshape(Project(g, c, w / name, normed), {s[0], s[1] * s[2], 1, s[3]});
  };
  const Value q = pixels("q"), k = pixels("k"), v = pixels("v");
  const float scale = 1.0f / std::sqrt(static_cast<float>(s.back()));
  const Value h = g.Reshape(g.Attention(q, k, v, {.scale = scale}), s);
  return g.Add(x, Project(g, c, w / "proj_out", h));
}

Value Mid(Graph& g, const VaeConfig& c, const Scope& w, Value h) {
  const int64_t channels = g.shape(h).back();
  h = ResnetBlock(g, w / "block_1", h, channels);
  h = AttnBlock(g, c, w / "attn_1", h);
  return ResnetBlock(g, w / "block_2", h, channels);
}

Value Finish(Graph& g, const Scope& w, Value h, int64_t out) {
  return g.Conv2d(w / "conv_out", g.Silu(Norm(g, w / "norm_out", h)), out, 3, kSame);
}

Value Decoder(Graph& g, const VaeConfig& c, const Scope& w, Value z) {
  Value h = g.Conv2d(w / "conv_in", z, c.block_out_channels.back(), 3, kSame);
  h = Mid(g, c, w / "mid", h);
  for (size_t i = c.block_out_channels.size(); i-- > 0;) {
    const Scope up = w / "up" / static_cast<int64_t>(i);
    for (int j = 0; j <= c.num_res_blocks; ++j) {
      h = ResnetBlock(g, up / "block" / j, h, c.block_out_channels[i]);
    }
    if (i > 0) {
      h = g.Conv2d(up / "upsample" / "conv", g.UpsampleNearest2x(h), g.shape(h).back(), 3, kSame);
    }
  }
  return Finish(g, w, h, 3);
}

Value Encoder(Graph& g, const VaeConfig& c, const Scope& w, Value x) {
  Value h = g.Conv2d(w / "conv_in", x, c.block_out_channels.front(), 3, kSame);
  for (size_t i = 0; i < c.block_out_channels.size(); ++i) {
    const Scope down = w / "down" / static_cast<int64_t>(i);
    for (int j = 0; j < c.num_res_blocks; ++j) {
      h = ResnetBlock(g, down / "block" / j, h, c.block_out_channels[i]);
    }
    if (i + 1 < c.block_out_channels.size()) {
      h = g.Conv2d(down / "downsample" / "conv", h, g.shape(h).back(), 3, kHalve);
    }
  }
  return Finish(g, w, Mid(g, c, w / "mid", h), 2 * c.z_channels);
}

}  // namespace

Value Decode(Graph& g, const VaeConfig& c, const Scope& w, Value z, LatentScaling latents) {
  z = g.Affine(z, 1.0f / latents.scale_factor, latents.shift_factor);
  if (c.quant_conv) z = g.Conv2d(w / "post_quant_conv", z, c.z_channels, 1, {});
  return Decoder(g, c, w / "decoder", z);
}

Moments Encode(Graph& g, const VaeConfig& c, const Scope& w, Value x) {
  Value moments = Encoder(g, c, w / "encoder", x);
  if (c.quant_conv) moments = g.Conv2d(w / "quant_conv", moments, 2 * c.z_channels, 1, {});
  return {g.Slice(moments, -1, 0, c.z_channels),
          g.Slice(moments, -1, c.z_channels, 2 * c.z_channels)};
}

}  // namespace ingot::vae
