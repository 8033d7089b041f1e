#include "graph/passes/split.h"

#include <algorithm>
#include <limits>
#include <map>
#include <optional>
#include <utility>

#include "base/check.h"

namespace ingot {
namespace {

template <typename T>
bool Is(const Node& node) {
  return std::holds_alternative<T>(node.op);
}

bool IsProduct(const Node& node) {
  return Is<op::Linear>(node) || Is<op::Attention>(node) || Is<op::Conv2d>(node);
}

// Columns [begin, end) of a Linear, and the slices that lie in them.
struct Part {
  size_t linear = 0;
  int64_t begin = 0, end = 0;
  size_t first_use = 0;
  std::vector<size_t> slices;
};

class Splitter {
 public:
  explicit Splitter(const Graph& graph)
      : graph_(graph),
        nodes_(graph.nodes()),
        users_(nodes_.size()),
        is_output_(nodes_.size()),
        moved_(nodes_.size()) {
    for (size_t i = 0; i < nodes_.size(); ++i) {
      for (Value input : nodes_[i].inputs) users_[Index(input)].push_back(i);
    }
    for (const Graph::Output& output : graph.outputs()) is_output_[Index(output.value)] = true;
    FindFirstUses();
    num_products_.push_back(0);
    for (const Node& node : nodes_) {
      num_products_.push_back(num_products_.back() + (IsProduct(node) ? 1 : 0));
    }
  }

  Graph Run() {
    for (size_t i = 0; i < nodes_.size(); ++i) {
      if (!Is<op::Linear>(nodes_[i])) continue;
      for (Part& part : PartsOf(i)) {
        for (size_t slice : part.slices) part_of_[slice] = parts_.size();
        parts_.push_back(std::move(part));
      }
    }
    part_values_.resize(parts_.size());
    MarkWaiting();
    for (size_t i = 0; i < nodes_.size(); ++i) {
      if (!waits_[i]) Move(i);
    }
    for (const auto& [name, value] : graph_.outputs()) out_.MarkOutput(name, Move(Index(value)));
    return std::move(out_);
  }

 private:
  static constexpr size_t kNever = std::numeric_limits<size_t>::max();

  static size_t Index(Value value) { return static_cast<size_t>(value.id); }
  static bool IsView(const Node& node) { return Is<op::Slice>(node) || Is<op::Reshape>(node); }

  // The first node that reads the value, behind its views.
  void FindFirstUses() {
    first_use_.assign(nodes_.size(), kNever);
    for (size_t i = nodes_.size(); i-- > 0;) {
      for (size_t user : users_[i]) {
        first_use_[i] = std::min(first_use_[i], IsView(nodes_[user]) ? first_use_[user] : user);
      }
    }
  }

  // Whether a product runs from node `begin` on and before `end`.
  bool RunsProduct(size_t begin, size_t end) const {
    end = std::min(end, nodes_.size());
    return begin < end && num_products_[begin] < num_products_[end];
  }

  bool IsSliceOfColumns(size_t node) const {
    const auto* slice = std::get_if<op::Slice>(&nodes_[node].op);
    return slice != nullptr && slice->axis == nodes_[node].shape.rank() - 1;
  }

  // Empty when the Linear stays whole.
  std::vector<Part> PartsOf(size_t linear) const {
    const std::vector<size_t>& users = users_[linear];
    const bool is_sliced =
        !is_output_[linear] && !users.empty() &&
        std::get<op::Linear>(nodes_[linear].op).epilogue == op::Epilogue::kNone &&
        std::ranges::all_of(users, [&](size_t i) { return IsSliceOfColumns(i); });
    if (!is_sliced) return {};
    std::vector<size_t> slices = users;
    const auto columns = [&](size_t i) { return std::get<op::Slice>(nodes_[i].op); };
    std::ranges::sort(slices, {}, [&](size_t i) { return columns(i).begin; });
    std::vector<Part> parts;
    for (size_t slice : slices) {
      const auto [axis, begin, end] = columns(slice);
      if (!parts.empty() && begin < parts.back().end) return {};
      const size_t first_use = first_use_[slice];
      if (!parts.empty() && begin == parts.back().end &&
          !RunsProduct(parts.back().first_use, first_use) &&
          !RunsProduct(first_use, parts.back().first_use)) {
        parts.back().end = end;
        parts.back().first_use = std::min(parts.back().first_use, first_use);
        parts.back().slices.push_back(slice);
      } else {
        parts.push_back({linear, begin, end, first_use, {slice}});
      }
    }
    if (!LowersMemory(linear, parts)) return {};
    return parts;
  }

  bool LowersMemory(size_t linear, const std::vector<Part>& parts) const {
    int64_t used = 0;
    for (const Part& part : parts) used += part.end - part.begin;
    if (used < nodes_[linear].shape.back()) return true;
    return std::ranges::any_of(parts, [&](const Part& part) {
      return RunsProduct(linear + 1, part.first_use) &&
             part.end - part.begin > ColumnsThatWait(part);
    });
  }

  // Columns of the prologue's operands that nothing reads as late as the part.
  int64_t ColumnsThatWait(const Part& part) const {
    int64_t columns = 0;
    const Node& linear = nodes_[part.linear];
    const auto weight = static_cast<size_t>(op::OperandsOf(std::get<op::Linear>(linear.op)).weight);
    for (size_t k = 0; k < weight; ++k) {
      const size_t operand = Index(linear.inputs[k]);
      const bool stays =
          is_output_[operand] || Is<op::Input>(nodes_[operand]) ||
          std::ranges::any_of(users_[operand], [&](size_t user) { return user >= part.first_use; });
      const Shape& shape = nodes_[operand].shape;
      const bool has_all_rows =
          shape.num_elements() / shape.back() == linear.shape.num_elements() / linear.shape.back();
      if (!stays && has_all_rows) columns += shape.back();
    }
    return columns;
  }

  // A part and the views of it are written when something reads them, its Linear never.
  void MarkWaiting() {
    waits_.assign(nodes_.size(), false);
    for (const Part& part : parts_) {
      waits_[part.linear] = true;
      const auto& inputs = nodes_[part.linear].inputs;
      for (size_t k = 0; k < inputs.size(); ++k) {
        const size_t operand = Index(inputs[k]);
        if (Is<op::Weight>(nodes_[operand]) && users_[operand].size() == 1) waits_[operand] = true;
      }
    }
    for (size_t i = 0; i < nodes_.size(); ++i) {
      if (part_of_.contains(i)) waits_[i] = true;
      if (IsView(nodes_[i]) && waits_[Index(nodes_[i].inputs[0])]) waits_[i] = true;
    }
  }

  Value Move(size_t i) {
    if (moved_[i]) return *moved_[i];
    const auto found = part_of_.find(i);
    if (found != part_of_.end()) {
      moved_[i] = MoveSlice(i, found->second);
    } else {
      Node node = nodes_[i];
      for (Value& input : node.inputs) input = Move(Index(input));
      moved_[i] = out_.Append(std::move(node));
    }
    return *moved_[i];
  }

  Value MoveSlice(size_t i, size_t part_idx) {
    const Part& part = parts_[part_idx];
    std::optional<Value>& value = part_values_[part_idx];
    if (!value) value = WriteLinear(part);
    auto slice = std::get<op::Slice>(nodes_[i].op);
    slice.begin -= part.begin;
    slice.end -= part.begin;
    return part.slices.size() == 1 ? *value : out_.New(slice, {*value});
  }

  Value WriteLinear(const Part& part) {
    const Node& node = nodes_[part.linear];
    const auto& linear = std::get<op::Linear>(node.op);
    const op::LinearOperands at = op::OperandsOf(linear);
    std::vector<Value> inputs;
    for (size_t k = 0; k < node.inputs.size(); ++k) {
      const bool by_column = static_cast<int>(k) == at.weight || static_cast<int>(k) == at.bias;
      inputs.push_back(by_column ? WriteRows(Index(node.inputs[k]), part)
                                 : Move(Index(node.inputs[k])));
    }
    return out_.New(linear, std::move(inputs));
  }

  Value WriteRows(size_t weight, const Part& part) {
    Node node = nodes_[weight];
    auto& rows = std::get<op::Weight>(node.op);
    if (rows.checkpoint_rows == 0) rows.checkpoint_rows = node.shape[0];
    rows.row_begin += part.begin;
    node.shape[0] = part.end - part.begin;
    return out_.Append(std::move(node));
  }

  const Graph& graph_;
  const std::vector<Node>& nodes_;
  std::vector<std::vector<size_t>> users_;
  std::vector<bool> is_output_;
  std::vector<size_t> first_use_;
  std::vector<int> num_products_;  // [i]: among the first i nodes
  std::vector<Part> parts_;
  std::map<size_t, size_t> part_of_;  // slice -> index in parts_
  std::vector<bool> waits_;
  Graph out_;
  std::vector<std::optional<Value>> moved_;        // of every node
  std::vector<std::optional<Value>> part_values_;  // of parts_
};

}  // namespace

Graph Split(const Graph& graph) { return Splitter(graph).Run(); }

}  // namespace ingot
