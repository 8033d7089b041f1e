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

Shape Rule(const Linear&, Inputs in) {
  INGOT_CHECK(in[1].rank() == 2 && in[0].back() == in[1][1]);
  INGOT_CHECK(in.size() == 2 || in[2] == Shape({in[1][0]}));
  Shape out = in[0];
  out[-1] = in[1][0];
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
  INGOT_CHECK(in[0].rank() == 4 && in[0][1] % op.num_groups == 0);
  INGOT_CHECK(in[1] == Shape({in[0][1]}) && in[2] == Shape({in[0][1]}));
  return in[0];
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
  INGOT_CHECK(in[0].rank() == 4 && in[1] == Shape({in[0][0], in[0][2], in[0][3] / 2, 2}));
  return in[0];
}

Shape Rule(const Attention&, Inputs in) {
  const Shape &q = in[0], &k = in[1];
  INGOT_CHECK(q.rank() == 4 && k == in[2]);
  INGOT_CHECK(q[0] == k[0] && q[1] == k[1] && q[3] == k[3]);
  if (in.size() == 4) {
    const Shape& bias = in[3];
    INGOT_CHECK(bias.rank() == 4 && (bias[0] == 1 || bias[0] == q[0]));
    INGOT_CHECK(bias[1] == q[1] && bias[2] == q[2] && bias[3] == k[2]);
  }
  return q;
}

Shape Rule(const RelativePositionBias& op, Inputs in) {
  INGOT_CHECK(in[0].rank() == 2 && op.length > 0);
  return {1, in[0][1], op.length, op.length};
}

Shape Rule(const Conv2d& op, Inputs in) {
  const Shape &x = in[0], &w = in[1];
  INGOT_CHECK(x.rank() == 4 && w.rank() == 4 && x[1] == w[1]);
  INGOT_CHECK(in.size() == 2 || in[2] == Shape({w[0]}));
  const int64_t h = (x[2] + op.pad_top + op.pad_bottom - w[2]) / op.stride + 1;
  const int64_t width = (x[3] + op.pad_left + op.pad_right - w[3]) / op.stride + 1;
  INGOT_CHECK(h > 0 && width > 0);
  return {x[0], w[0], h, width};
}

Shape Rule(const UpsampleNearest2x&, Inputs in) {
  return {in[0][0], in[0][1], 2 * in[0][2], 2 * in[0][3]};
}

std::string Describe(const Input& op) { return op.name; }
std::string Describe(const Weight& op) { return op.name; }
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
std::string Describe(const Affine& op) {
  return fmt::format("scale={} shift={}", op.scale, op.shift);
}
std::string Describe(const LayerNorm& op) { return fmt::format("eps={}", op.eps); }
std::string Describe(const RmsNorm& op) { return fmt::format("eps={}", op.eps); }
std::string Describe(const GroupNorm& op) {
  return fmt::format("num_groups={} eps={}", op.num_groups, op.eps);
}
std::string Describe(const TimestepEmbedding& op) { return fmt::format("dim={}", op.dim); }
std::string Describe(const RopeTable& op) {
  return fmt::format("axes_dim={},{},{} theta={}", op.axes_dim[0], op.axes_dim[1], op.axes_dim[2],
                     op.theta);
}
std::string Describe(const Attention& op) {
  return fmt::format("scale={}{}", op.scale, op.causal ? " causal" : "");
}
std::string Describe(const RelativePositionBias& op) {
  return fmt::format("length={} max_distance={}", op.length, op.max_distance);
}
std::string Describe(const Conv2d& op) {
  return fmt::format("stride={} pad={},{},{},{}", op.stride, op.pad_top, op.pad_left, op.pad_bottom,
                     op.pad_right);
}
template <typename T>
std::string Describe(const T&) {
  return {};
}

}  // namespace

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
