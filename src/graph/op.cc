#include "graph/op.h"

#include <algorithm>

#include <fmt/format.h>

#include "base/check.h"

namespace ingot::op {
namespace {

using Inputs = std::span<const Shape>;

Shape Rule(const Input&, Inputs) { INGOT_CHECK(false); }
Shape Rule(const Weight&, Inputs) { INGOT_CHECK(false); }
Shape Rule(const Reshape&, Inputs) { INGOT_CHECK(false); }

Shape Rule(const Permute& op, Inputs in) {
  Shape out;
  for (int i = 0; i < in[0].rank(); ++i) out.push_back(in[0][op.axes[static_cast<size_t>(i)]]);
  INGOT_CHECK(out.num_elements() == in[0].num_elements());
  return out;
}

Shape Rule(const Slice& op, Inputs in) {
  INGOT_CHECK(0 <= op.begin && op.begin < op.end && op.end <= in[0][op.axis]);
  Shape out = in[0];
  out[op.axis] = op.end - op.begin;
  return out;
}

Shape Rule(const Concat& op, Inputs in) {
  Shape out = in[0];
  for (size_t i = 1; i < in.size(); ++i) {
    Shape rest = in[i];
    out[op.axis] += rest[op.axis];
    rest[op.axis] = out[op.axis];
    INGOT_CHECK(rest == out);
  }
  return out;
}

Shape Rule(const Embedding&, Inputs in) {
  INGOT_CHECK(in[1].rank() == 2);
  Shape out = in[0];
  out.push_back(in[1][1]);
  return out;
}

Shape Rule(const TakeRow&, Inputs in) {
  INGOT_CHECK(in[0].rank() == 3 && in[1] == Shape({in[0][0]}));
  return {in[0][0], in[0][2]};
}

const Shape& At(Inputs in, int idx) { return in[static_cast<size_t>(idx)]; }

int NumOperands(Prologue prologue) {
  switch (prologue) {
    case Prologue::kNone:
    case Prologue::kGeluTanh:
      return 1;
    case Prologue::kGatedGeluTanh:
    case Prologue::kConcatGeluTanh:
      return 2;
    case Prologue::kAdaLayerNorm:
      return 3;
  }
  INGOT_CHECK(false);
}

// Shape of the rows that the prologue makes.
Shape PrologueShape(const Linear& op, Inputs in) {
  Shape x = in[0];
  if (op.prologue == Prologue::kConcatGeluTanh) x[-1] += in[1].back();
  if (op.prologue == Prologue::kGatedGeluTanh) INGOT_CHECK(in[1] == x);
  if (op.prologue == Prologue::kAdaLayerNorm) {
    const Shape modulation = {x[0], 1, x[2]};
    INGOT_CHECK(x.rank() == 3 && in[1] == modulation && in[2] == modulation);
  }
  return x;
}

Shape Rule(const Linear& op, Inputs in) {
  const LinearOperands at = OperandsOf(op);
  const Shape& weight = At(in, at.weight);
  Shape out = PrologueShape(op, in);
  INGOT_CHECK(weight.rank() == 2 && out.back() == weight[1]);
  out[-1] = weight[0];
  INGOT_CHECK(at.bias < 0 || At(in, at.bias) == Shape({weight[0]}));
  INGOT_CHECK(at.residual < 0 || At(in, at.residual) == out);
  INGOT_CHECK(at.gate < 0 || At(in, at.gate) == Shape({out[0], 1, weight[0]}));
  return out;
}

Shape Rule(const Binary&, Inputs in) {
  INGOT_CHECK(in[0].rank() == in[1].rank());
  Shape out = in[0];
  for (int i = 0; i < out.rank(); ++i) {
    INGOT_CHECK(in[0][i] == in[1][i] || in[0][i] == 1 || in[1][i] == 1);
    out[i] = std::max(in[0][i], in[1][i]);
  }
  return out;
}

Shape Rule(const Unary&, Inputs in) { return in[0]; }
Shape Rule(const Affine&, Inputs in) { return in[0]; }

Shape Rule(const LayerNorm&, Inputs in) {
  INGOT_CHECK(in.size() == 1 ||
              (in.size() == 3 && in[1] == Shape({in[0].back()}) && in[2] == Shape({in[0].back()})));
  return in[0];
}

Shape Rule(const RmsNorm&, Inputs in) {
  INGOT_CHECK(in[1] == Shape({in[0].back()}));
  return in[0];
}

Shape Rule(const GroupNorm& op, Inputs in) {
  INGOT_CHECK(in[0].rank() == 4 && in[0].back() % op.num_groups == 0);
  INGOT_CHECK(in[1] == Shape({in[0].back()}) && in[2] == Shape({in[0].back()}));
  return in[0];
}

Shape Rule(const GroupNormStats& op, Inputs in) {
  INGOT_CHECK(in[0].rank() == 4 && in[0].back() % op.num_groups == 0);
  return {in[0][0], op.num_groups, 2};
}

Shape Rule(const TimestepEmbedding& op, Inputs in) {
  INGOT_CHECK(in[0].rank() == 1 && op.dim % 2 == 0);
  return {in[0][0], op.dim};
}

Shape Rule(const RopeTable& op, Inputs in) {
  INGOT_CHECK(in[0].rank() == 3 && in[0][2] == 3);
  const int64_t head_dim = op.axes_dim[0] + op.axes_dim[1] + op.axes_dim[2];
  INGOT_CHECK(head_dim % 2 == 0);
  return {in[0][0], in[0][1], head_dim / 2, 2};
}

Shape Rule(const Rope&, Inputs in) {
  INGOT_CHECK(in[0].rank() == 4 && in[1] == Shape({in[0][0], in[0][1], in[0][3] / 2, 2}));
  return in[0];
}

Shape Rule(const RmsNormRope&, Inputs in) {
  INGOT_CHECK(in[0].rank() == 4 && in[1] == Shape({in[0][3]}));
  INGOT_CHECK(in[2] == Shape({in[0][0], in[0][1], in[0][3] / 2, 2}));
  return in[0];
}

Shape Rule(const Attention&, Inputs in) {
  const Shape &q = in[0], &k = in[1];
  INGOT_CHECK(q.rank() == 4 && k == in[2]);
  INGOT_CHECK(q[0] == k[0] && q[2] == k[2] && q[3] == k[3]);
  if (in.size() == 4) {
    const Shape& bias = in[3];
    INGOT_CHECK(bias.rank() == 4 && (bias[0] == 1 || bias[0] == q[0]));
    INGOT_CHECK(bias[1] == q[2] && bias[2] == q[1] && bias[3] == k[1]);
  }
  return q;
}

Shape Rule(const RelativePositionBias& op, Inputs in) {
  INGOT_CHECK(in[0].rank() == 2 && op.length > 0);
  return {1, in[0][1], op.length, op.length};
}

Shape Rule(const Conv2d& op, Inputs in) {
  const Conv2dOperands at = OperandsOf(op);
  const Shape &x = in[0], &w = At(in, at.weight);
  INGOT_CHECK(x.rank() == 4 && w.rank() == 4 && x.back() == w[1]);
  const int64_t up = op.upsample ? 2 : 1;
  const int64_t h = (up * x[1] + op.pad_top + op.pad_bottom - w[2]) / op.stride + 1;
  const int64_t width = (up * x[2] + op.pad_left + op.pad_right - w[3]) / op.stride + 1;
  INGOT_CHECK(h > 0 && width > 0);
  const Shape out = {x[0], h, width, w[0]};
  if (op.norm_silu) {
    INGOT_CHECK(At(in, at.stats).rank() == 3 && x.back() % At(in, at.stats)[1] == 0);
    INGOT_CHECK(At(in, at.norm_weight) == Shape({x.back()}));
    INGOT_CHECK(At(in, at.norm_bias) == Shape({x.back()}));
  }
  INGOT_CHECK(at.bias < 0 || At(in, at.bias) == Shape({w[0]}));
  INGOT_CHECK(at.residual < 0 || At(in, at.residual) == out);
  return out;
}

Shape Rule(const UpsampleNearest2x&, Inputs in) {
  return {in[0][0], 2 * in[0][1], 2 * in[0][2], in[0][3]};
}

std::string Describe(const Input& op) { return op.name; }
std::string Describe(const Weight& op) {
  if (op.checkpoint_rows == 0) return op.name;
  return fmt::format("{} from row {} of {}", op.name, op.row_begin, op.checkpoint_rows);
}
std::string Describe(const Permute& op) {
  std::string axes;
  for (int axis : op.axes) axes += fmt::format("{}{}", axes.empty() ? "" : ",", axis);
  return "axes=" + axes;
}
std::string Describe(const Slice& op) {
  return fmt::format("axis={} begin={} end={}", op.axis, op.begin, op.end);
}
std::string Describe(const Concat& op) { return fmt::format("axis={}", op.axis); }
std::string Describe(const Binary& op) { return op.kind == BinaryKind::kAdd ? "add" : "mul"; }
std::string Describe(const Unary& op) {
  constexpr std::array<const char*, 3> kNames = {"silu", "gelu_tanh", "quick_gelu"};
  return kNames[static_cast<size_t>(op.kind)];
}
const char* Name(Compute compute) {
  constexpr std::array<const char*, 4> kNames = {"f32", "i16", "i8", "f8"};
  return kNames[static_cast<size_t>(compute)];
}
std::string Describe(const Linear& op) {
  constexpr std::array<const char*, 5> kPrologues = {"", " ada_layer_norm", " gelu_tanh",
                                                     " gated_gelu_tanh", " concat_gelu_tanh"};
  constexpr std::array<const char*, 3> kEpilogues = {"", " add", " gated_add"};
  return fmt::format("{}{}{}{}{}", Name(op.compute), op.has_bias ? " bias" : "",
                     op.sensitive ? " sensitive" : "", kPrologues[static_cast<size_t>(op.prologue)],
                     kEpilogues[static_cast<size_t>(op.epilogue)]);
}
std::string Describe(const Affine& op) {
  return fmt::format("scale={} shift={}", op.scale, op.shift);
}
std::string Describe(const LayerNorm& op) { return fmt::format("eps={}", op.eps); }
std::string Describe(const RmsNorm& op) { return fmt::format("eps={}", op.eps); }
std::string Describe(const GroupNorm& op) {
  return fmt::format("num_groups={} eps={}", op.num_groups, op.eps);
}
std::string Describe(const GroupNormStats& op) {
  return fmt::format("num_groups={} eps={}", op.num_groups, op.eps);
}
std::string Describe(const RmsNormRope& op) { return fmt::format("eps={}", op.eps); }
std::string Describe(const TimestepEmbedding& op) { return fmt::format("dim={}", op.dim); }
std::string Describe(const RopeTable& op) {
  return fmt::format("axes_dim={},{},{} theta={}", op.axes_dim[0], op.axes_dim[1], op.axes_dim[2],
                     op.theta);
}
std::string Describe(const Attention& op) {
  return fmt::format("{} scale={}{}", Name(op.compute), op.scale, op.causal ? " causal" : "");
}
std::string Describe(const RelativePositionBias& op) {
  return fmt::format("length={} max_distance={}", op.length, op.max_distance);
}
std::string Describe(const Conv2d& op) {
  return fmt::format("{} stride={} pad={},{},{},{}{}{}{}{}", Name(op.compute), op.stride,
                     op.pad_top, op.pad_left, op.pad_bottom, op.pad_right,
                     op.has_bias ? " bias" : "", op.norm_silu ? " norm_silu" : "",
                     op.upsample ? " upsample" : "", op.residual ? " residual" : "");
}
template <typename T>
std::string Describe(const T&) {
  return {};
}

}  // namespace

LinearOperands OperandsOf(const Linear& op) {
  LinearOperands at;
  int next = NumOperands(op.prologue);
  at.weight = next++;
  if (op.has_bias) at.bias = next++;
  if (op.epilogue != Epilogue::kNone) at.residual = next++;
  if (op.epilogue == Epilogue::kGatedAdd) at.gate = next++;
  return at;
}

Conv2dOperands OperandsOf(const Conv2d& op) {
  Conv2dOperands at;
  int next = 1;
  if (op.norm_silu) {
    at.stats = next++;
    at.norm_weight = next++;
    at.norm_bias = next++;
  }
  at.weight = next++;
  if (op.has_bias) at.bias = next++;
  if (op.residual) at.residual = next++;
  return at;
}

std::string_view Name(const Op& op) {
  return std::visit([](const auto& o) { return o.kName; }, op);
}

std::string DescribeAttributes(const Op& op) {
  return std::visit([](const auto& o) { return Describe(o); }, op);
}

Shape InferShape(const Op& op, std::span<const Shape> inputs) {
  return std::visit([&](const auto& o) { return Rule(o, inputs); }, op);
}

}  // namespace ingot::op
