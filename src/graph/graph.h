// A static graph of ops with known shapes, and the builder that models write in.
//
// The builder infers every shape, so a whole model can be built and checked
// with no weights, no kernels and no device.
#pragma once

#include <array>
#include <cstdint>
#include <initializer_list>
#include <string>
#include <string_view>
#include <vector>

#include "graph/op.h"
#include "tensor/dtype.h"
#include "tensor/shape.h"

namespace ingot {

// The output of one node.
struct Value {
  int32_t id = -1;
};

// A prefix of checkpoint tensor names: `w / "img_attn" / "qkv"`.
class Scope {
 public:
  explicit Scope(std::string prefix = {}) : prefix_(std::move(prefix)) {}
  Scope operator/(std::string_view child) const {
    return Scope(prefix_.empty() ? std::string(child) : prefix_ + "." + std::string(child));
  }
  Scope operator/(int64_t index) const { return *this / std::to_string(index); }
  const std::string& name() const { return prefix_; }

 private:
  std::string prefix_;
};

struct Node {
  op::Op op;
  std::vector<Value> inputs;
  Shape shape;
  DType dtype = DType::kF32;
};

struct LinearOptions {
  bool bias = true;
  bool sensitive = false;  // op::Linear
};

// Nodes stand in the order of execution: inputs before users.
class Graph {
 public:
  Value Input(std::string name, Shape shape, DType dtype = DType::kF32);
  // A weight with the shape that the checkpoint must have.
  Value Weight(const Scope& scope, std::string_view leaf, Shape shape);

  // x * weight^T (+ bias), the weights under `scope`, `out` features.
  Value Linear(const Scope& scope, Value x, int64_t out, const LinearOptions& options = {});
  Value Embedding(Value ids, Value table) { return New(op::Embedding{}, {ids, table}); }
  Value TakeRow(Value x, Value idx) { return New(op::TakeRow{}, {x, idx}); }

  Value Add(Value a, Value b) { return New(op::Binary{op::BinaryKind::kAdd}, {a, b}); }
  Value Mul(Value a, Value b) { return New(op::Binary{op::BinaryKind::kMul}, {a, b}); }
  Value Affine(Value x, float scale, float shift) { return New(op::Affine{scale, shift}, {x}); }
  Value Silu(Value x) { return New(op::Unary{op::UnaryKind::kSilu}, {x}); }
  Value GeluTanh(Value x) { return New(op::Unary{op::UnaryKind::kGeluTanh}, {x}); }
  Value QuickGelu(Value x) { return New(op::Unary{op::UnaryKind::kQuickGelu}, {x}); }

  // Without weights (Flux), or with `weight` and `bias` under `scope` (CLIP).
  Value LayerNorm(Value x, float eps) { return New(op::LayerNorm{eps}, {x}); }
  Value LayerNorm(const Scope& scope, Value x, float eps);
  Value RmsNorm(Value x, Value weight, float eps) { return New(op::RmsNorm{eps}, {x, weight}); }
  Value GroupNorm(const Scope& scope, Value x, int num_groups, float eps);

  Value Reshape(Value x, Shape shape);
  Value Permute(Value x, std::initializer_list<int> axes);
  // Negative axes count from the end.
  Value Slice(Value x, int axis, int64_t begin, int64_t end);
  Value Concat(std::vector<Value> xs, int axis);

  Value TimestepEmbedding(Value t, const op::TimestepEmbedding& attributes) {
    return New(attributes, {t});
  }
  Value RopeTable(Value ids, const std::array<int, 3>& axes_dim, float theta) {
    return New(op::RopeTable{axes_dim, theta}, {ids});
  }
  Value Rope(Value x, Value table) { return New(op::Rope{}, {x, table}); }
  Value Attention(Value q, Value k, Value v, const op::Attention& attributes) {
    return New(attributes, {q, k, v});
  }
  Value Attention(Value q, Value k, Value v, Value bias, const op::Attention& attributes) {
    return New(attributes, {q, k, v, bias});
  }
  Value RelativePositionBias(Value table, const op::RelativePositionBias& attributes) {
    return New(attributes, {table});
  }

  // kernel x kernel convolution, `weight` [out, C, kernel, kernel] and `bias`
  // under `scope`.
  Value Conv2d(const Scope& scope, Value x, int64_t out, int64_t kernel,
               const op::Conv2d& attributes);
  Value UpsampleNearest2x(Value x) { return New(op::UpsampleNearest2x{}, {x}); }

  // A node of any op that has a shape rule: for passes, which write what no model does.
  Value New(op::Op op, std::vector<Value> inputs);
  // `node` as it is; its inputs are values of this graph.
  Value Append(Node node);

  // Values that a run leaves readable under `name`; they live to its end.
  void MarkOutput(std::string name, Value value) { outputs_.push_back({std::move(name), value}); }

  struct Output {
    std::string name;
    Value value;
  };
  const std::vector<Node>& nodes() const { return nodes_; }
  const Node& node(Value v) const { return nodes_[static_cast<size_t>(v.id)]; }
  const Shape& shape(Value v) const { return node(v).shape; }
  const std::vector<Output>& outputs() const { return outputs_; }
  // Input of that name, or an invalid Value.
  Value FindInput(std::string_view name) const;

 private:
  std::vector<Node> nodes_;
  std::vector<Output> outputs_;
};

// One line a node: "%12 = linear(%11, %4, %5) [1, 256, 3072] f32".
std::string DumpText(const Graph& graph);

}  // namespace ingot
