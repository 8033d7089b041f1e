// What each op is: its attributes, operands and shape rule. No op knows a device.
//
// Every op has one output. Activations are f32 (pictures between convolutions
// f16 where a pass says so), indices i32. Pictures are channels last, [B, h, w, C];
// heads stay beside each other in a token's row, [B, L, H, Dh]. The letters of
// shapes are those of docs/glossary.md; "..." is any number of outer dimensions.
// Reference kernels (devices/cpu/reference) define the maths.
//
// Models write the plain ops; the fields marked "by a pass" are set by
// graph/passes and are off in what a model builds.
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

// A tensor of a checkpoint, by the reference's name; or, by a pass, some rows (of axis 0) of it.
struct Weight {
  static constexpr std::string_view kName = "weight";
  std::string name;
  int64_t row_begin = 0;        // the first
  int64_t checkpoint_rows = 0;  // of the whole tensor; 0: the node has them all
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

// In what a product of matrices is computed; set by a pass from the job's
// precision and the weight's type. Sums of kI16 and kI8 are exact integers.
enum class Compute : uint8_t {
  kF32,  // one chain of fused multiply-adds per element, in the order of K
  kI16,  // both sides rounded to 12 bits or more with a scale per row and 256 of K
  kI8,   // both sides rounded to 8 bits with a scale per row and 256 of K
  kF8,   // of a Linear: both sides rounded to e4m3 with a scale per row, sums in f32; for devices
         // that want it (Device::WantsF8), which may round to more bits where they cannot multiply
         // it
};

// How a Linear makes its rows of K values from its first operands.
enum class Prologue : uint8_t {
  kNone,            // x [..., K]
  kAdaLayerNorm,    // x [B, L, K], shift, scale [B, 1, K]: (1 + scale) * layer_norm(x) + shift
  kGeluTanh,        // x [..., K]: gelu_tanh(x)
  kGatedGeluTanh,   // a, b [..., K]: gelu_tanh(a) * b
  kConcatGeluTanh,  // a [..., K - Kb], b [..., Kb]: a, then gelu_tanh(b)
};

// What a Linear does with y = x * weight^T + bias before it is written.
enum class Epilogue : uint8_t {
  kNone,
  kAdd,       // residual + y; residual has the shape of y
  kGatedAdd,  // residual + gate * y; gate [B, 1, N]
};

// x [..., K], weight [N, K], optional bias [N] -> [..., N]: x * weight^T + bias.
// Operands: those of the prologue, weight, bias if `has_bias`, then those of the
// epilogue: residual, gate.
struct Linear {
  static constexpr std::string_view kName = "linear";
  bool has_bias = false;
  bool sensitive = false;  // few columns that decide the picture: kF32 at every precision
  // By a pass:
  Compute compute = Compute::kF32;
  Prologue prologue = Prologue::kNone;
  float eps = 0.0f;  // of the prologue's norm
  Epilogue epilogue = Epilogue::kNone;
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

// x [B, h, w, C]: normalized over each of `num_groups` groups of C/num_groups
// consecutive channels of a picture, then * weight [C] + bias [C].
struct GroupNorm {
  static constexpr std::string_view kName = "group_norm";
  int num_groups = 32;
  float eps = 0.0f;
};

// By a pass. x [B, h, w, C] -> [B, num_groups, 2]: mean and 1 / sqrt(variance + eps) of each group.
struct GroupNormStats {
  static constexpr std::string_view kName = "group_norm_stats";
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

// x [B, L, H, Dh], table [B, L, Dh/2, 2]: the pair (x[2i], x[2i+1]) turned by angle i.
struct Rope {
  static constexpr std::string_view kName = "rope";
};

// By a pass. x [B, L, H, Dh], weight [Dh], table [B, L, Dh/2, 2]: rope(rms_norm(x, weight)).
struct RmsNormRope {
  static constexpr std::string_view kName = "rms_norm_rope";
  float eps = 0.0f;
};

// q [B, Lq, H, Dh], k, v [B, Lk, H, Dh], optional bias [1 or B, H, Lq, Lk]
// -> [B, Lq, H, Dh]: softmax(scale * q k^T + bias) v of each head. causal: key j <= query i only.
struct Attention {
  static constexpr std::string_view kName = "attention";
  float scale = 1.0f;
  bool causal = false;
  Compute compute = Compute::kF32;  // by a pass
};

// table [num_buckets, H] -> [1, H, length, length]: T5's bidirectional bias,
// out[h, i, j] = table[bucket(j - i), h]
// (transformers T5Attention._relative_position_bucket).
struct RelativePositionBias {
  static constexpr std::string_view kName = "relative_position_bias";
  int64_t length = 0;
  int max_distance = 128;
};

// x [B, h, w, C], weight [O, C, kh, kw], optional bias [O] -> [B, h', w', O]:
// cross-correlation with zero padding. Operands: x; with `norm_silu` the stats
// [B, G, 2] (GroupNormStats of x) and the norm's weight [C] and bias [C]; weight;
// bias if `has_bias`; residual [B, h', w', O] if `residual`.
struct Conv2d {
  static constexpr std::string_view kName = "conv2d";
  int stride = 1;
  int pad_top = 0, pad_left = 0, pad_bottom = 0, pad_right = 0;
  bool has_bias = false;
  // By a pass:
  Compute compute = Compute::kF32;  // kF32 or kI16
  bool norm_silu = false;  // the picture is silu(group_norm(x)), padded with zeros after it
  bool upsample = false;   // then each pixel of it four times
  bool residual = false;   // added to what is written
};

// x [B, h, w, C] -> [B, 2h, 2w, C]: every pixel four times.
struct UpsampleNearest2x {
  static constexpr std::string_view kName = "upsample_nearest_2x";
};

using Op = std::variant<Input, Weight, Reshape, Permute, Slice, Concat, Embedding, TakeRow, Linear,
                        Binary, Unary, Affine, LayerNorm, RmsNorm, GroupNorm, GroupNormStats,
                        TimestepEmbedding, RopeTable, Rope, RmsNormRope, Attention,
                        RelativePositionBias, Conv2d, UpsampleNearest2x>;

std::string_view Name(const Op& op);

// Where the operands of a Linear stand among its inputs; -1 for one it does not have.
struct LinearOperands {
  int weight = 0, bias = -1, residual = -1, gate = -1;
};
LinearOperands OperandsOf(const Linear& op);

// The same of a Conv2d.
struct Conv2dOperands {
  int stats = -1, norm_weight = -1, norm_bias = -1;
  int weight = 0, bias = -1, residual = -1;
};
Conv2dOperands OperandsOf(const Conv2d& op);

// Attributes for the text dump: "axis=1 begin=0 end=64"; empty when there are none.
std::string DescribeAttributes(const Op& op);

// Shape of the output for ops that have a rule. Input, Weight and Reshape have
// none: their shape is given. Wrong operands are bugs of the caller (CHECKs):
// a model validates its sizes before it builds.
Shape InferShape(const Op& op, std::span<const Shape> inputs);

}  // namespace ingot::op
