#include "graph/passes/fuse.h"

#include <array>
#include <map>
#include <optional>
#include <tuple>
#include <utility>

#include "base/check.h"

namespace ingot {
namespace {

constexpr int kMaxLinearsOfModulated = 2;  // fuse.h says why

using ValuePair = std::pair<Value, Value>;

// Sums and products are matched either way round, the operand that stands last in the graph
// first: an op that moves to the place of its sum then moves least.
std::array<ValuePair, 2> BothOrders(const Node& node) {
  const Value a = node.inputs[0], b = node.inputs[1];
  if (a.id > b.id) return {ValuePair{a, b}, ValuePair{b, a}};
  return {ValuePair{b, a}, ValuePair{a, b}};
}

// What the outputs need; and every input, used or not: they are what a caller sees of a graph.
std::vector<bool> FindLive(const Graph& graph) {
  std::vector<bool> live(graph.nodes().size());
  for (const Graph::Output& output : graph.outputs()) {
    live[static_cast<size_t>(output.value.id)] = true;
  }
  for (size_t i = live.size(); i-- > 0;) {
    if (std::holds_alternative<op::Input>(graph.nodes()[i].op)) live[i] = true;
    if (!live[i]) continue;
    for (Value input : graph.nodes()[i].inputs) live[static_cast<size_t>(input.id)] = true;
  }
  return live;
}

Graph WithoutDeadNodes(const Graph& graph) {
  const std::vector<bool> live = FindLive(graph);
  Graph out;
  std::vector<Value> moved(live.size());
  for (size_t i = 0; i < live.size(); ++i) {
    if (!live[i]) continue;
    Node node = graph.nodes()[i];
    for (Value& input : node.inputs) input = moved[static_cast<size_t>(input.id)];
    moved[i] = out.Append(std::move(node));
  }
  for (const auto& [name, value] : graph.outputs()) {
    out.MarkOutput(name, moved[static_cast<size_t>(value.id)]);
  }
  return out;
}

// How a Linear makes its rows; the operands are values of the plain graph.
struct PrologueMatch {
  op::Prologue prologue = op::Prologue::kNone;
  float eps = 0.0f;
  std::vector<Value> operands;
};

// Patterns are matched on the plain graph, from their last node back. The fused node takes the
// place of that last node, so that inputs stay before users; the others are left dead.
class Fuser {
 public:
  explicit Fuser(const Graph& plain) : plain_(plain), users_(plain.nodes().size()) {
    for (const Node& node : plain.nodes()) {
      for (Value input : node.inputs) users_[static_cast<size_t>(input.id)].push_back(&node);
    }
    for (const Graph::Output& output : plain.outputs()) {
      users_[static_cast<size_t>(output.value.id)].push_back(nullptr);
    }
  }

  Graph Run() {
    for (const Node& node : plain_.nodes()) {
      const Value fused = Rewrite(node);
      INGOT_CHECK(out_.shape(fused) == node.shape);
      fused_.push_back(fused);
    }
    for (const auto& [name, value] : plain_.outputs()) out_.MarkOutput(name, Fused(value));
    return WithoutDeadNodes(out_);
  }

 private:
  Value Fused(Value plain) const { return fused_[static_cast<size_t>(plain.id)]; }
  std::vector<Value> Fused(const std::vector<Value>& plain) const {
    std::vector<Value> fused;
    for (Value v : plain) fused.push_back(Fused(v));
    return fused;
  }

  Value Rewrite(const Node& node) {
    std::optional<Value> fused;
    if (std::holds_alternative<op::Linear>(node.op)) fused = FusePrologue(node);
    if (std::holds_alternative<op::Conv2d>(node.op)) fused = FuseNormAndUpsample(node);
    if (std::holds_alternative<op::Rope>(node.op)) fused = FuseRmsNorm(node);
    if (const auto* binary = std::get_if<op::Binary>(&node.op);
        binary != nullptr && binary->kind == op::BinaryKind::kAdd) {
      fused = FuseEpilogue(node);
    }
    if (fused) return *fused;
    return out_.Append({node.op, Fused(node.inputs), node.shape, node.dtype});
  }

  // The node of `v` when it is an `Op` of which nothing is needed but one operand of one node.
  template <typename Op>
  const Node* FindOnly(Value v) const {
    if (users_[static_cast<size_t>(v.id)].size() != 1) return nullptr;
    return std::holds_alternative<Op>(plain_.node(v).op) ? &plain_.node(v) : nullptr;
  }
  const Node* FindOnly(Value v, op::BinaryKind kind) const {
    const Node* node = FindOnly<op::Binary>(v);
    return node != nullptr && std::get<op::Binary>(node->op).kind == kind ? node : nullptr;
  }
  const Node* FindOnly(Value v, op::UnaryKind kind) const {
    const Node* node = FindOnly<op::Unary>(v);
    return node != nullptr && std::get<op::Unary>(node->op).kind == kind ? node : nullptr;
  }

  // ---- What is before a Linear ----

  std::optional<Value> FusePrologue(const Node& node) {
    auto linear = std::get<op::Linear>(node.op);
    if (linear.prologue != op::Prologue::kNone) return std::nullopt;
    const Value x = node.inputs[0];
    std::optional<PrologueMatch> match = MatchAdaLayerNorm(x);
    if (!match) match = MatchGelu(x);
    if (!match) match = MatchConcatGelu(x);
    if (!match) return std::nullopt;

    linear.prologue = match->prologue;
    linear.eps = match->eps;
    std::vector<Value> inputs = std::move(match->operands);
    inputs.insert(inputs.end(), node.inputs.begin() + 1, node.inputs.end());
    return out_.New(linear, Fused(inputs));
  }

  bool FeedsFewLinears(Value x) const {
    const std::vector<const Node*>& users = users_[static_cast<size_t>(x.id)];
    if (users.size() > kMaxLinearsOfModulated) return false;
    for (const Node* user : users) {
      if (user == nullptr || !std::holds_alternative<op::Linear>(user->op)) return false;
      if (user->inputs[0].id != x.id) return false;
    }
    return true;
  }

  // add(mul(affine(scale), layer_norm(x)), shift)
  std::optional<PrologueMatch> MatchAdaLayerNorm(Value sum) const {
    const Node& add = plain_.node(sum);
    const auto* binary = std::get_if<op::Binary>(&add.op);
    if (binary == nullptr || binary->kind != op::BinaryKind::kAdd) return std::nullopt;
    if (add.shape.rank() != 3 || !FeedsFewLinears(sum)) return std::nullopt;
    const Shape per_picture = {add.shape[0], 1, add.shape[2]};
    for (const auto& [product, shift] : BothOrders(add)) {
      const Node* mul = FindOnly(product, op::BinaryKind::kMul);
      if (mul == nullptr || plain_.shape(shift) != per_picture) continue;
      for (const auto& [normed, scale_plus_1] : BothOrders(*mul)) {
        const Node* norm = FindOnly<op::LayerNorm>(normed);
        const Node* affine = FindOnly<op::Affine>(scale_plus_1);
        if (norm == nullptr || norm->inputs.size() != 1 || norm->shape != add.shape) continue;
        if (affine == nullptr || affine->shape != per_picture) continue;
        const auto& [scale, offset] = std::get<op::Affine>(affine->op);
        if (scale != 1.0f || offset != 1.0f) continue;
        return PrologueMatch{op::Prologue::kAdaLayerNorm,
                             std::get<op::LayerNorm>(norm->op).eps,
                             {norm->inputs[0], shift, affine->inputs[0]}};
      }
    }
    return std::nullopt;
  }

  // gelu_tanh(a) or gelu_tanh(a) * b
  std::optional<PrologueMatch> MatchGelu(Value x) const {
    if (const Node* gelu = FindOnly(x, op::UnaryKind::kGeluTanh)) {
      return PrologueMatch{op::Prologue::kGeluTanh, 0.0f, gelu->inputs};
    }
    const Node* mul = FindOnly(x, op::BinaryKind::kMul);
    if (mul == nullptr) return std::nullopt;
    for (const auto& [gated, b] : BothOrders(*mul)) {
      const Node* gelu = FindOnly(gated, op::UnaryKind::kGeluTanh);
      if (gelu == nullptr || gelu->shape != plain_.shape(b)) continue;
      return PrologueMatch{op::Prologue::kGatedGeluTanh, 0.0f, {gelu->inputs[0], b}};
    }
    return std::nullopt;
  }

  std::optional<PrologueMatch> MatchConcatGelu(Value x) const {
    const Node* concat = FindOnly<op::Concat>(x);
    if (concat == nullptr || concat->inputs.size() != 2) return std::nullopt;
    if (std::get<op::Concat>(concat->op).axis != concat->shape.rank() - 1) return std::nullopt;
    const Node* gelu = FindOnly(concat->inputs[1], op::UnaryKind::kGeluTanh);
    if (gelu == nullptr) return std::nullopt;
    return PrologueMatch{op::Prologue::kConcatGeluTanh, 0.0f, {concat->inputs[0], gelu->inputs[0]}};
  }

  // ---- What is behind a Linear or a Conv2d ----

  std::optional<Value> FuseEpilogue(const Node& add) {
    for (const auto& [y, residual] : BothOrders(add)) {
      if (plain_.shape(residual) != add.shape || plain_.shape(y) != add.shape) continue;
      if (FindOnly<op::Linear>(y) != nullptr) {
        if (auto fused = WithEpilogue(y, op::Epilogue::kAdd, {residual})) return fused;
      }
      if (FindOnly<op::Conv2d>(y) != nullptr) {
        if (auto fused = WithResidual(y, residual)) return fused;
      }
      const Node* mul = FindOnly(y, op::BinaryKind::kMul);
      if (mul == nullptr || add.shape.rank() != 3) continue;
      const Shape per_picture = {add.shape[0], 1, add.shape[2]};
      for (const auto& [product, gate] : BothOrders(*mul)) {
        if (FindOnly<op::Linear>(product) == nullptr) continue;
        if (plain_.shape(product) != add.shape || plain_.shape(gate) != per_picture) continue;
        if (auto fused = WithEpilogue(product, op::Epilogue::kGatedAdd, {residual, gate})) {
          return fused;
        }
      }
    }
    return std::nullopt;
  }

  // The Linear that `plain` has become, with `operands` behind its own.
  std::optional<Value> WithEpilogue(Value plain, op::Epilogue epilogue,
                                    const std::vector<Value>& operands) {
    const Node& node = out_.node(Fused(plain));
    auto linear = std::get<op::Linear>(node.op);
    if (linear.epilogue != op::Epilogue::kNone) return std::nullopt;
    linear.epilogue = epilogue;
    std::vector<Value> inputs = node.inputs;
    for (Value operand : operands) inputs.push_back(Fused(operand));
    return out_.New(linear, std::move(inputs));
  }

  std::optional<Value> WithResidual(Value plain, Value residual) {
    const Node& node = out_.node(Fused(plain));
    auto conv = std::get<op::Conv2d>(node.op);
    if (conv.residual) return std::nullopt;
    conv.residual = true;
    std::vector<Value> inputs = node.inputs;
    inputs.push_back(Fused(residual));
    return out_.New(conv, std::move(inputs));
  }

  // ---- What is before a Rope or a Conv2d ----

  std::optional<Value> FuseRmsNorm(const Node& rope) {
    const Value x = rope.inputs[0], table = Fused(rope.inputs[1]);
    if (const Node* norm = FindOnly<op::RmsNorm>(x)) return NormRope(*norm, table);

    // The concatenation of tokens moves behind the rope: each part is then normed, turned and
    // written to its place in one pass.
    const Node* concat = FindOnly<op::Concat>(x);
    if (concat == nullptr || std::get<op::Concat>(concat->op).axis != 1) return std::nullopt;
    for (Value part : concat->inputs) {
      if (FindOnly<op::RmsNorm>(part) == nullptr) return std::nullopt;
    }
    std::vector<Value> parts;
    int64_t begin = 0;
    for (Value part : concat->inputs) {
      const int64_t end = begin + plain_.shape(part)[1];
      parts.push_back(NormRope(plain_.node(part), TableRows(table, begin, end)));
      begin = end;
    }
    return out_.New(concat->op, std::move(parts));
  }

  Value NormRope(const Node& norm, Value table) {
    return out_.New(op::RmsNormRope{std::get<op::RmsNorm>(norm.op).eps},
                    {Fused(norm.inputs[0]), Fused(norm.inputs[1]), table});
  }

  // One slice of the table serves the queries and keys of all blocks.
  Value TableRows(Value table, int64_t begin, int64_t end) {
    const auto key = std::tuple(table.id, begin, end);
    const auto found = table_rows_.find(key);
    if (found != table_rows_.end()) return found->second;
    return table_rows_[key] = out_.New(op::Slice{1, begin, end}, {table});
  }

  std::optional<Value> FuseNormAndUpsample(const Node& node) {
    auto conv = std::get<op::Conv2d>(node.op);
    if (conv.norm_silu || conv.upsample) return std::nullopt;
    Value x = node.inputs[0];
    if (const Node* upsample = FindOnly<op::UpsampleNearest2x>(x)) {
      conv.upsample = true;
      x = upsample->inputs[0];
    }
    std::vector<Value> inputs = {Fused(x)};
    const Node* silu = FindOnly(x, op::UnaryKind::kSilu);
    if (const Node* norm = silu != nullptr ? FindOnly<op::GroupNorm>(silu->inputs[0]) : nullptr) {
      conv.norm_silu = true;
      const auto& [num_groups, eps] = std::get<op::GroupNorm>(norm->op);
      const Value picture = Fused(norm->inputs[0]);
      const Value stats = out_.New(op::GroupNormStats{num_groups, eps}, {picture});
      inputs = {picture, stats, Fused(norm->inputs[1]), Fused(norm->inputs[2])};
    }
    if (!conv.upsample && !conv.norm_silu) return std::nullopt;
    for (size_t k = 1; k < node.inputs.size(); ++k) inputs.push_back(Fused(node.inputs[k]));
    return out_.New(conv, std::move(inputs));
  }

  const Graph& plain_;
  std::vector<std::vector<const Node*>> users_;  // of every plain value; null for an output
  Graph out_;
  std::vector<Value> fused_;  // of every plain value
  std::map<std::tuple<int32_t, int64_t, int64_t>, Value> table_rows_;
};

}  // namespace

Graph Fuse(const Graph& graph) { return Fuser(graph).Run(); }

}  // namespace ingot
