#include "graph/passes/hoist.h"

#include <algorithm>
#include <utility>
#include <variant>

#include <fmt/format.h>

#include "base/check.h"

namespace ingot {
namespace {

// What a value depends on. Of several the last counts.
enum class Level : uint8_t { kConstant, kStepwise, kMain };

// Whether the op makes row s of its output from row s of its first operand alone.
bool WorksByRows(const op::Op& op) {
  const auto* linear = std::get_if<op::Linear>(&op);
  if (linear != nullptr) {
    return linear->prologue == op::Prologue::kNone && linear->epilogue == op::Epilogue::kNone;
  }
  const auto* slice = std::get_if<op::Slice>(&op);
  if (slice != nullptr) return slice->axis != 0;
  return std::holds_alternative<op::Unary>(op) || std::holds_alternative<op::Affine>(op) ||
         std::holds_alternative<op::Reshape>(op) || std::holds_alternative<op::LayerNorm>(op) ||
         std::holds_alternative<op::RmsNorm>(op) ||
         std::holds_alternative<op::TimestepEmbedding>(op);
}

bool IsLeaf(const Node& node) {
  return std::holds_alternative<op::Input>(node.op) || std::holds_alternative<op::Weight>(node.op);
}

// Whether main may compute the node again; hoist.h says why. All have one operand.
bool IsRepeatable(const Node& node) {
  const bool norm = std::holds_alternative<op::LayerNorm>(node.op) && node.inputs.size() == 1;
  return norm || std::holds_alternative<op::Reshape>(node.op) ||
         std::holds_alternative<op::Slice>(node.op) || std::holds_alternative<op::Affine>(node.op);
}

size_t Index(Value v) { return static_cast<size_t>(v.id); }

class Hoister {
 public:
  Hoister(const Graph& graph, const HoistOptions& options) : graph_(graph), options_(options) {}

  Hoisted Run() {
    FindLevels();
    ChooseCrossings();
    const std::vector<bool> in_hoisted = FindHoisted(), in_main = FindMain();
    Hoisted out;
    std::vector<Value> hoisted(size()), main(size());
    for (size_t i = 0; i < size(); ++i) {
      if (in_hoisted[i]) hoisted[i] = AppendRows(out.hoisted, i, hoisted);
      if (crosses_[i]) {
        const Node& node = graph_.nodes()[i];
        const std::string name = fmt::format("hoisted.{}", i);
        out.hoisted.MarkOutput(name, hoisted[i]);
        main[i] = out.main.Input(name, node.shape, node.dtype);
        out.crossings.push_back({name, levels_[i] == Level::kStepwise});
      } else if (in_main[i]) {
        main[i] = out.main.Append(WithInputs(graph_.nodes()[i], main));
      }
    }
    for (const auto& [name, value] : graph_.outputs()) {
      out.main.MarkOutput(name, main[Index(value)]);
    }
    return out;
  }

 private:
  size_t size() const { return graph_.nodes().size(); }

  void FindLevels() {
    levels_.assign(size(), Level::kConstant);
    for (const std::string& name : options_.varying) levels_[IndexOfInput(name)] = Level::kMain;
    for (const std::string& name : options_.stepwise) {
      INGOT_CHECK(graph_.nodes()[IndexOfInput(name)].shape[0] == 1);
      levels_[IndexOfInput(name)] = Level::kStepwise;
    }
    for (size_t i = 0; i < size(); ++i) {
      const Node& node = graph_.nodes()[i];
      if (IsLeaf(node)) continue;
      for (Value input : node.inputs) levels_[i] = std::max(levels_[i], levels_[Index(input)]);
      if (levels_[i] == Level::kStepwise && !KeepsSteps(node)) levels_[i] = Level::kMain;
    }
  }

  size_t IndexOfInput(const std::string& name) const {
    const Value input = graph_.FindInput(name);
    INGOT_CHECK(input.id >= 0);
    return Index(input);
  }

  // Whether the node can be computed for all steps at once, its stepwise operands having a row a
  // step, and gives no more than they have.
  bool KeepsSteps(const Node& node) const {
    const auto is_stepwise = [&](Value v) { return levels_[Index(v)] == Level::kStepwise; };
    if (node.shape.rank() == 0 || node.shape[0] != 1) return false;
    if (std::holds_alternative<op::Binary>(node.op)) {
      return std::ranges::any_of(
          node.inputs, [&](Value v) { return is_stepwise(v) && graph_.shape(v) == node.shape; });
    }
    const auto rest = std::span(node.inputs).subspan(1);
    return WorksByRows(node.op) && std::ranges::none_of(rest, is_stepwise);
  }

  // Repeatable nodes have one operand, so they form trees below the values that main cannot
  // compute again. In a tree either a value crosses and all below it is free, or it stays and
  // those below it see for themselves; a value that main reads has no choice.
  void ChooseCrossings() {
    const std::vector<bool> read = FindReadByMain();
    std::vector<int64_t> below(size());  // fewest bytes that satisfy main without the value itself
    const auto own = [&](size_t i) {
      return NumBytes(graph_.nodes()[i].dtype, graph_.nodes()[i].shape);
    };
    const auto crosses = [&](size_t i) { return read[i] || (below[i] > 0 && own(i) <= below[i]); };
    for (size_t i = size(); i-- > 0;) {
      const Node& node = graph_.nodes()[i];
      if (levels_[i] == Level::kMain || !IsRepeatable(node)) continue;
      below[Index(node.inputs[0])] += crosses(i) ? own(i) : below[i];
    }

    std::vector<bool> in_reach(size());  // of main, without another crossing
    crosses_.assign(size(), false);
    for (size_t i = 0; i < size(); ++i) {
      const Node& node = graph_.nodes()[i];
      if (levels_[i] == Level::kMain) continue;
      in_reach[i] = IsLeaf(node) || (IsRepeatable(node) && in_reach[Index(node.inputs[0])]);
      if (!in_reach[i] && crosses(i)) crosses_[i] = in_reach[i] = true;
    }
  }

  std::vector<bool> FindReadByMain() const {
    std::vector<bool> read(size());
    for (size_t i = 0; i < size(); ++i) {
      if (levels_[i] != Level::kMain) continue;
      for (Value input : graph_.nodes()[i].inputs) read[Index(input)] = true;
    }
    for (const Graph::Output& output : graph_.outputs()) read[Index(output.value)] = true;
    return read;
  }

  // What the crossing values need.
  std::vector<bool> FindHoisted() const {
    std::vector<bool> needed = crosses_;
    for (size_t i = size(); i-- > 0;) {
      if (needed[i]) MarkInputs(i, needed);
    }
    return needed;
  }

  // What the outputs need, as far as the crossing values.
  std::vector<bool> FindMain() const {
    std::vector<bool> needed(size());
    for (const Graph::Output& output : graph_.outputs()) needed[Index(output.value)] = true;
    for (size_t i = size(); i-- > 0;) {
      if (needed[i] && !crosses_[i]) MarkInputs(i, needed);
    }
    return needed;
  }

  void MarkInputs(size_t i, std::vector<bool>& marked) const {
    for (Value input : graph_.nodes()[i].inputs) marked[Index(input)] = true;
  }

  static Node WithInputs(Node node, const std::vector<Value>& moved) {
    for (Value& input : node.inputs) input = moved[Index(input)];
    return node;
  }

  // Node `i` of the whole graph in the hoisted one: with a row a step if it is stepwise.
  Value AppendRows(Graph& hoisted, size_t i, const std::vector<Value>& moved) const {
    Node node = WithInputs(graph_.nodes()[i], moved);
    if (levels_[i] == Level::kStepwise) node.shape[0] = options_.num_rows;
    const Shape shape = node.shape;
    const bool has_rule = !IsLeaf(node) && !std::holds_alternative<op::Reshape>(node.op);
    const Value value = has_rule ? hoisted.New(std::move(node.op), std::move(node.inputs))
                                 : hoisted.Append(std::move(node));
    INGOT_CHECK(hoisted.shape(value) == shape);
    return value;
  }

  const Graph& graph_;
  const HoistOptions& options_;
  std::vector<Level> levels_;  // of every value
  std::vector<bool> crosses_;
};

}  // namespace

Hoisted Hoist(const Graph& graph, const HoistOptions& options) {
  return Hoister(graph, options).Run();
}

}  // namespace ingot
