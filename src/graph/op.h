// What each op is: its attributes, operands and shape rule. No op knows a device.
//
// Every op has one output. Activations are f32 and contiguous, indices i32.
// The letters of shapes are those of docs/glossary.md; "..." is any number of
// outer dimensions. Reference kernels (devices/cpu/reference) define the maths.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <variant>

#include "tensor/dtype.h"
#include "tensor/shape.h"

namespace ingot::op {

// A value that the caller writes before a run.
struct Input {
  static constexpr std::string_view kName = "input";
  std::string name;
};

// A tensor of a checkpoint, by the reference's name.
struct Weight {
  static constexpr std::string_view kName = "weight";
  std::string name;
};

// x -> the same elements under another shape; no bytes move.
struct Reshape {
  static constexpr std::string_view kName = "reshape";
};

// out dimension i is x dimension axes[i].
struct Permute {
  static constexpr std::string_view kName = "permute";
  std::array<int, Shape::kMaxRank> axes = {};
};

// x[begin, end) along `axis` (not negative).
struct Slice {
  static constexpr std::string_view kName = "slice";
  int axis = 0;
  int64_t begin = 0;
  int64_t end = 0;
};

// Inputs one after the other along `axis` (not negative).
struct Concat {
  static constexpr std::string_view kName = "concat";
  int axis = 0;
};

// ids [...] i32, table [V, D] -> [..., D]. Ids are below V.
struct Embedding {
  static constexpr std::string_view kName = "embedding";
};

// x [B, L, D], idx [B] i32 -> [B, D]: row idx[b] of picture b.
struct TakeRow {
  static constexpr std::string_view kName = "take_row";
};

// x [..., K], weight [N, K], optional bias [N] -> [..., N]: x * weight^T + bias.
struct Linear {
  static constexpr std::string_view kName = "linear";
};

enum class BinaryKind : uint8_t { kAdd, kMul };

// Elementwise over equal ranks; a dimension of 1 is repeated.
struct Binary {
  static constexpr std::string_view kName = "binary";
  BinaryKind kind = BinaryKind::kAdd;
};

enum class UnaryKind : uint8_t {
  kSilu,       // x * sigmoid(x)
  kGeluTanh,   // 0.5 x (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3)))
  kQuickGelu,  // x * sigmoid(1.702 x)
};

struct Unary {
  static constexpr std::string_view kName = "unary";
  UnaryKind kind = UnaryKind::kSilu;
};

// scale * x + shift, both constants.
struct Affine {
  static constexpr std::string_view kName = "affine";
  float scale = 1.0f;
  float shift = 0.0f;
};

// (x - mean) / sqrt(variance + eps) over the last dimension (biased variance),
// then * weight [D] + bias [D] when they are given.
struct LayerNorm {
  static constexpr std::string_view kName = "layer_norm";
  float eps = 0.0f;
};

// x / sqrt(mean(x^2) + eps) * weight [D] over the last dimension.
struct RmsNorm {
  static constexpr std::string_view kName = "rms_norm";
  float eps = 0.0f;
};

// x [B, C, h, w]: normalized over each of `num_groups` groups of C/num_groups
// consecutive channels of a picture, then * weight [C] + bias [C].
struct GroupNorm {
  static constexpr std::string_view kName = "group_norm";
  int num_groups = 32;
  float eps = 0.0f;
};

// t [B] -> [B, dim]: cos then sin of time_factor * t * max_period^(-i / (dim/2)).
struct TimestepEmbedding {
  static constexpr std::string_view kName = "timestep_embedding";
  int64_t dim = 256;
  float time_factor = 1000.0f;
  float max_period = 10000.0f;
};

// ids [B, L, A] f32 -> [B, L, Dh/2, 2]: (cos, sin) of ids[a] * theta^(-2i/axes_dim[a]),
// i = 0..axes_dim[a]/2-1, the axes one after the other; Dh = sum of axes_dim.
struct RopeTable {
  static constexpr std::string_view kName = "rope_table";
  std::array<int, 3> axes_dim = {};
  float theta = 10000.0f;
};

// x [B, H, L, Dh], table [B, L, Dh/2, 2]: the pair (x[2i], x[2i+1]) turned by angle i.
struct Rope {
  static constexpr std::string_view kName = "rope";
};

// q [B, H, Lq, Dh], k, v [B, H, Lk, Dh], optional bias [1 or B, H, Lq, Lk]
// -> [B, H, Lq, Dh]: softmax(scale * q k^T + bias) v. causal: key j <= query i only.
struct Attention {
  static constexpr std::string_view kName = "attention";
  float scale = 1.0f;
  bool causal = false;
};

// table [num_buckets, H] -> [1, H, length, length]: T5's bidirectional bias,
// out[h, i, j] = table[bucket(j - i), h]
// (transformers T5Attention._relative_position_bucket).
struct RelativePositionBias {
  static constexpr std::string_view kName = "relative_position_bias";
  int64_t length = 0;
  int max_distance = 128;
};

// x [B, C, h, w], weight [O, C, kh, kw], optional bias [O]: cross-correlation
// with zero padding.
struct Conv2d {
  static constexpr std::string_view kName = "conv2d";
  int stride = 1;
  int pad_top = 0, pad_left = 0, pad_bottom = 0, pad_right = 0;
};

// x [B, C, h, w] -> [B, C, 2h, 2w]: every pixel four times.
struct UpsampleNearest2x {
  static constexpr std::string_view kName = "upsample_nearest_2x";
};

using Op =
    std::variant<Input, Weight, Reshape, Permute, Slice, Concat, Embedding, TakeRow, Linear, Binary,
                 Unary, Affine, LayerNorm, RmsNorm, GroupNorm, TimestepEmbedding, RopeTable, Rope,
                 Attention, RelativePositionBias, Conv2d, UpsampleNearest2x>;

std::string_view Name(const Op& op);

// Attributes for the text dump: "axis=1 begin=0 end=64"; empty when there are none.
std::string DescribeAttributes(const Op& op);

// Shape of the output for ops that have a rule. Input, Weight and Reshape have
// none: their shape is given. Wrong operands are bugs of the caller (CHECKs):
// a model validates its sizes before it builds.
Shape InferShape(const Op& op, std::span<const Shape> inputs);

}  // namespace ingot::op
