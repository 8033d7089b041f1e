#include "memory/chunk.h"

#include <algorithm>
#include <functional>
#include <map>
#include <optional>
#include <queue>
#include <set>
#include <utility>

#include "base/check.h"
#include "devices/device.h"

namespace ingot {
namespace {

template <typename T>
bool Is(const Node& node) {
  return std::holds_alternative<T>(node.op);
}

bool IsGiven(const Node& node) { return Is<op::Input>(node) || Is<op::Weight>(node); }

bool HasTokens(const Shape& shape) { return shape.rank() >= 3 && shape[0] == 1; }

// Row r of a view is row r + shift of its input; nothing for a node that is no such view.
std::optional<int64_t> ShiftOfView(const Node& node, const Shape& input) {
  if (!HasTokens(node.shape) || !HasTokens(input)) return std::nullopt;
  if (Is<op::Reshape>(node) && node.shape[1] == input[1]) return 0;
  const auto* slice = std::get_if<op::Slice>(&node.op);
  if (slice != nullptr && slice->axis == 1) return slice->begin;
  return std::nullopt;
}

bool MovesNoByte(const Graph& graph, const Node& node) {
  return IsGiven(node) || Is<op::Reshape>(node) ||
         (Is<op::Slice>(node) && ShiftOfView(node, graph.shape(node.inputs[0])));
}

// Whether row r of the output depends on row r of operands alone, and on operands without rows.
bool IsMadeByRows(const Node& node) {
  if (!HasTokens(node.shape)) return false;
  return std::visit(
      [&]<typename T>(const T& op) {
        if constexpr (std::is_same_v<T, op::Attention>) {
          return !op.causal && node.inputs.size() == 3;
        } else if constexpr (std::is_same_v<T, op::Slice> || std::is_same_v<T, op::Concat>) {
          return op.axis >= 2;
        } else {
          return std::is_same_v<T, op::Linear> || std::is_same_v<T, op::Unary> ||
                 std::is_same_v<T, op::Binary> || std::is_same_v<T, op::Affine> ||
                 std::is_same_v<T, op::LayerNorm> || std::is_same_v<T, op::RmsNorm> ||
                 std::is_same_v<T, op::Rope> || std::is_same_v<T, op::RmsNormRope>;
        }
      },
      node.op);
}

// Nodes that go through their chunks together. Row r of a node is row r + offset of the group.
struct Members {
  std::map<int32_t, int64_t> offsets;  // by node, in its order
};

class Chunker {
 public:
  Chunker(const Graph& graph, int64_t chunk_rows)
      : graph_(graph), nodes_(graph.nodes()), chunk_rows_(chunk_rows), readers_(nodes_.size()) {
    INGOT_CHECK(chunk_rows >= 0 && chunk_rows % kRowGrid == 0);
    for (size_t i = 0; i < nodes_.size(); ++i) {
      const auto node = static_cast<int32_t>(i);
      for (size_t k = 0; k < nodes_[i].inputs.size() && !IsView(node); ++k) {
        readers_[Index(FindRowsRead(graph_, node, k).root)].push_back({node, k});
      }
      groups_.push_back({.offsets = {{node, 0}}});
      group_of_.push_back(node);
    }
    is_output_.resize(nodes_.size());
    for (const Graph::Output& output : graph.outputs())
      is_output_[Index(Root(output.value))] = true;
    is_chunked_.resize(nodes_.size());
    is_emitted_.resize(nodes_.size());
  }

  Schedule Run() {
    if (chunk_rows_ > 0) FindGroups();
    return Order();
  }

 private:
  struct Reader {
    int32_t node;
    size_t input_idx;
  };

  static size_t Index(int32_t node) { return static_cast<size_t>(node); }
  const Node& At(int32_t node) const { return nodes_[Index(node)]; }
  bool IsView(int32_t node) const { return MovesNoByte(graph_, At(node)); }
  // The value whose bytes `value` shows.
  int32_t Root(Value value) const {
    while (Is<op::Reshape>(graph_.node(value)) ||
           (IsView(value.id) && !IsGiven(graph_.node(value)))) {
      value = graph_.node(value).inputs[0];
    }
    return value.id;
  }
  const Members& GroupOf(int32_t node) const { return groups_[Index(group_of_[Index(node)])]; }

  void FindGroups() {
    std::vector<int32_t> candidates;
    for (size_t i = 0; i < nodes_.size(); ++i) {
      if (IsCandidate(static_cast<int32_t>(i))) candidates.push_back(static_cast<int32_t>(i));
    }
    std::ranges::stable_sort(candidates, std::greater<>(),
                             [&](int32_t node) { return At(node).shape.num_elements(); });
    for (int32_t node : candidates) {
      std::optional<Members> merged = Merge(node);
      if (!merged || !CanTakeTurns(*merged)) continue;
      const int32_t id = merged->offsets.begin()->first;
      for (const auto& [member, offset] : merged->offsets) group_of_[Index(member)] = id;
      groups_[Index(id)] = *std::move(merged);
      is_chunked_[Index(node)] = true;
    }
  }

  // Made by rows, more than a chunk of them, and read by rows and no element twice.
  bool IsCandidate(int32_t node) const {
    if (IsView(node) || is_output_[Index(node)] || !IsMadeByRows(At(node))) return false;
    if (At(node).shape[1] <= chunk_rows_ || readers_[Index(node)].empty()) return false;
    int64_t elements_read = 0;
    for (const Reader& reader : readers_[Index(node)]) {
      const RowsRead rows = FindRowsRead(graph_, reader.node, reader.input_idx);
      if (!rows.by_rows || rows.shift % kRowGrid != 0) return false;
      const bool is_slice = Is<op::Slice>(At(reader.node));
      const Value operand = At(reader.node).inputs[reader.input_idx];
      elements_read += (is_slice ? At(reader.node).shape : graph_.shape(operand)).num_elements();
    }
    return elements_read <= At(node).shape.num_elements();
  }

  // The groups of the value and of its readers as one; nothing when their rows do not meet.
  std::optional<Members> Merge(int32_t node) const {
    Members merged = GroupOf(node);
    for (const Reader& reader : readers_[Index(node)]) {
      const RowsRead rows = FindRowsRead(graph_, reader.node, reader.input_idx);
      const int64_t offset = merged.offsets.at(node) + rows.shift;
      const Members& other = GroupOf(reader.node);
      for (const auto& [member, member_offset] : other.offsets) {
        const int64_t moved = member_offset - other.offsets.at(reader.node) + offset;
        if (merged.offsets.try_emplace(member, moved).first->second != moved) return std::nullopt;
      }
    }
    return merged;
  }

  // Whether each chunk of the group needs only chunks before it of what the group makes, and
  // nothing that runs after a part of the group.
  bool CanTakeTurns(const Members& group) const {
    for (const auto& [node, offset] : group.offsets) {
      for (size_t k = 0; k < At(node).inputs.size(); ++k) {
        const RowsRead rows = FindRowsRead(graph_, node, k);
        const auto made = group.offsets.find(rows.root);
        if (made == group.offsets.end()) continue;
        if (!rows.by_rows || made->second + rows.shift != offset) return false;
      }
    }
    std::vector<bool> seen(nodes_.size());
    std::vector<int32_t> open;
    const auto follow = [&](int32_t node) {
      for (const Reader& reader : readers_[Index(node)]) {
        if (!seen[Index(reader.node)]) open.push_back(reader.node);
        seen[Index(reader.node)] = true;
      }
    };
    for (const auto& [node, offset] : group.offsets) seen[Index(node)] = true;
    for (const auto& [node, offset] : group.offsets) follow(node);
    for (const auto& [node, offset] : group.offsets) seen[Index(node)] = false;
    while (!open.empty()) {
      const int32_t node = open.back();
      open.pop_back();
      if (group.offsets.contains(node)) return false;
      for (const auto& [member, offset] : GroupOf(node).offsets) {
        seen[Index(member)] = true;
        follow(member);
      }
    }
    return true;
  }

  // Slices of tokens that are no part of a chunk, as late as can be.
  void EmitSlices(Value value) {
    if (!IsView(value.id) || IsGiven(At(value.id))) return;
    EmitSlices(At(value.id).inputs[0]);
    if (!Is<op::Slice>(At(value.id)) || is_chunked_[Index(Root(value))]) return;
    if (is_emitted_[Index(value.id)]) return;
    is_emitted_[Index(value.id)] = true;
    schedule_.steps.push_back({.node = value.id});
  }

  // Groups and single nodes, each as soon as it can and its last node had its turn.
  Schedule Order() {
    schedule_.group_of.assign(nodes_.size(), -1);
    schedule_.offsets.assign(nodes_.size(), 0);
    schedule_.buffer_rows.assign(nodes_.size(), 0);
    std::vector<std::set<int32_t>> sources(nodes_.size());  // of a group, by id
    std::vector<std::set<int32_t>> targets(nodes_.size());
    for (size_t i = 0; i < nodes_.size(); ++i) {
      for (const Reader& reader : readers_[i]) {
        const int32_t from = group_of_[i], to = group_of_[Index(reader.node)];
        if (from == to || IsGiven(nodes_[i])) continue;
        sources[Index(to)].insert(from);
        targets[Index(from)].insert(to);
      }
    }
    using Turn = std::pair<int32_t, int32_t>;  // last node, group
    std::priority_queue<Turn, std::vector<Turn>, std::greater<>> ready;
    const auto enqueue = [&](int32_t group) {
      ready.push({groups_[Index(group)].offsets.rbegin()->first, group});
    };
    std::vector<size_t> num_open(nodes_.size());
    for (size_t i = 0; i < nodes_.size(); ++i) {
      const auto node = static_cast<int32_t>(i);
      if (group_of_[i] != node || IsView(node)) continue;
      num_open[i] = sources[i].size();
      if (num_open[i] == 0) enqueue(node);
    }
    while (!ready.empty()) {
      const int32_t group = ready.top().second;
      ready.pop();
      Emit(groups_[Index(group)]);
      for (int32_t target : targets[Index(group)]) {
        if (--num_open[Index(target)] == 0) enqueue(target);
      }
    }
    for (const Graph::Output& output : graph_.outputs()) EmitSlices(output.value);
    for (size_t i = 0; i < nodes_.size(); ++i) {
      const auto root = Index(Root({static_cast<int32_t>(i)}));
      schedule_.group_of[i] = schedule_.group_of[root];
      schedule_.offsets[i] = schedule_.offsets[root];
      schedule_.buffer_rows[i] = schedule_.buffer_rows[root];
    }
    return std::move(schedule_);
  }

  void Emit(const Members& members) {
    for (const auto& [node, offset] : members.offsets) {
      for (Value input : At(node).inputs) EmitSlices(input);
    }
    if (members.offsets.size() == 1) {
      return schedule_.steps.push_back({.node = members.offsets.begin()->first});
    }
    Schedule::Group group = {.first_step = static_cast<int32_t>(schedule_.steps.size())};
    int64_t begin = members.offsets.begin()->second, end = begin;
    for (const auto& [node, offset] : members.offsets) {
      group.nodes.push_back(node);
      schedule_.group_of[Index(node)] = static_cast<int32_t>(schedule_.groups.size());
      schedule_.offsets[Index(node)] = offset;
      begin = std::min(begin, offset);
      end = std::max(end, offset + At(node).shape[1]);
    }
    for (; begin < end; begin += chunk_rows_) {
      for (const auto& [node, offset] : members.offsets) {
        const int64_t first = std::max<int64_t>(begin - offset, 0);
        const int64_t last = std::min(begin - offset + chunk_rows_, At(node).shape[1]);
        if (first >= last) continue;
        schedule_.steps.push_back({node, first, last, begin});
        int64_t& rows = schedule_.buffer_rows[Index(node)];
        if (is_chunked_[Index(node)]) rows = std::max(rows, last - first);
      }
    }
    group.last_step = static_cast<int32_t>(schedule_.steps.size()) - 1;
    schedule_.groups.push_back(std::move(group));
  }

  const Graph& graph_;
  const std::vector<Node>& nodes_;
  const int64_t chunk_rows_;
  std::vector<std::vector<Reader>> readers_;  // of every value that is no view, behind its views
  std::vector<bool> is_output_;
  std::vector<Members> groups_;    // by id: their first node; a node alone is a group
  std::vector<int32_t> group_of_;  // of every node
  std::vector<bool> is_chunked_;
  std::vector<bool> is_emitted_;  // slices
  Schedule schedule_;
};

}  // namespace

void Schedule::KeepNodes(std::span<const int32_t> nodes) {
  std::vector<bool> is_kept(group_of.size());
  for (int32_t node : nodes) is_kept[static_cast<size_t>(node)] = true;
  const auto is_dropped = [&](int32_t node) { return !is_kept[static_cast<size_t>(node)]; };
  std::erase_if(steps, [&](const Step& step) { return is_dropped(step.node); });
  for (Group& group : groups) {
    std::erase_if(group.nodes, is_dropped);
    group.first_step = group.last_step = -1;
  }
  for (size_t i = 0; i < steps.size(); ++i) {
    const int32_t id = group_of[static_cast<size_t>(steps[i].node)];
    if (steps[i].is_whole() || id < 0) continue;
    Group& group = groups[static_cast<size_t>(id)];
    if (group.first_step < 0) group.first_step = static_cast<int32_t>(i);
    group.last_step = static_cast<int32_t>(i);
  }
}

int32_t Schedule::TurnOf(size_t step) const {
  const int32_t node = steps[step].node, id = group_of[static_cast<size_t>(node)];
  if (steps[step].is_whole() || id < 0) return static_cast<int32_t>(step);
  const Group& group = groups[static_cast<size_t>(id)];
  return group.first_step +
         static_cast<int32_t>(std::ranges::find(group.nodes, node) - group.nodes.begin());
}

RowsRead FindRowsRead(const Graph& graph, int32_t node, size_t input_idx) {
  const Node& reader = graph.nodes()[static_cast<size_t>(node)];
  Value value = reader.inputs[input_idx];
  const Shape& operand = graph.shape(value);
  const bool is_keys = Is<op::Attention>(reader) && input_idx > 0;
  RowsRead rows = {.by_rows = IsMadeByRows(reader) && !is_keys && HasTokens(operand) &&
                              operand[1] == reader.shape[1]};
  while (!IsGiven(graph.node(value)) && MovesNoByte(graph, graph.node(value))) {
    const Node& view = graph.node(value);
    const std::optional<int64_t> shift = ShiftOfView(view, graph.shape(view.inputs[0]));
    rows.by_rows = rows.by_rows && shift.has_value();
    rows.shift += shift.value_or(0);
    value = view.inputs[0];
  }
  rows.root = value.id;
  return rows;
}

Schedule ChunkTokens(const Graph& graph, int64_t chunk_rows) {
  return Chunker(graph, chunk_rows).Run();
}

int64_t WeightBytes(const Graph& graph, std::span<const int32_t> nodes,
                    const WeightDTypes& weight_dtypes) {
  std::set<int32_t> weights;
  for (int32_t node : nodes) {
    const Node& reader = graph.nodes()[static_cast<size_t>(node)];
    for (size_t k = 0; k < reader.inputs.size(); ++k) {
      weights.insert(FindRowsRead(graph, node, k).root);
    }
  }
  int64_t num_bytes = 0;
  for (int32_t id : weights) {
    const Node& node = graph.nodes()[static_cast<size_t>(id)];
    const auto* weight = std::get_if<op::Weight>(&node.op);
    if (weight != nullptr) num_bytes += NumBytes(weight_dtypes(weight->name), node.shape);
  }
  return num_bytes;
}

std::vector<BufferLifetime> FindLifetimes(const Graph& graph, const Schedule& schedule,
                                          std::span<const int32_t> roots) {
  const std::vector<Node>& nodes = graph.nodes();
  const int end = static_cast<int>(schedule.steps.size());
  std::vector<BufferLifetime> lifetimes(nodes.size());
  const auto extend = [&](int32_t node, int first_step, int last_step) {
    const auto root = static_cast<size_t>(roots[static_cast<size_t>(node)]);
    if (Is<op::Weight>(nodes[root])) return;
    BufferLifetime& lifetime = lifetimes[root];
    if (lifetime.num_bytes == 0) {
      Shape shape = nodes[root].shape;
      if (schedule.buffer_rows[root] > 0) shape[1] = schedule.buffer_rows[root];
      lifetime = {NumBytes(nodes[root].dtype, shape), first_step, last_step};
    }
    lifetime.first_step = std::min(lifetime.first_step, first_step);
    lifetime.last_step = std::max(lifetime.last_step, last_step);
  };

  for (size_t i = 0; i < nodes.size(); ++i) {
    if (Is<op::Input>(nodes[i])) extend(static_cast<int32_t>(i), 0, end);  // kept for the next run
  }
  for (const Graph::Output& output : graph.outputs()) extend(output.value.id, end, end);
  const auto touch = [&](int32_t node, int step, const Schedule::Group* group) {
    const auto root = static_cast<size_t>(roots[static_cast<size_t>(node)]);
    const bool is_chunk = schedule.buffer_rows[root] > 0;
    if (group == nullptr || is_chunk) return extend(node, step, step);
    extend(node, group->first_step, group->last_step);
  };
  const auto touch_all = [&](int32_t node, int step, const Schedule::Group* group) {
    touch(node, step, group);
    for (Value input : nodes[static_cast<size_t>(node)].inputs) touch(input.id, step, group);
  };
  for (int step = 0; step < end; ++step) {
    const Step& at = schedule.steps[static_cast<size_t>(step)];
    if (at.is_whole()) touch_all(at.node, step, nullptr);
  }
  // As if each member had its step in the first chunk: there are as many steps or more.
  for (const Schedule::Group& group : schedule.groups) {
    for (size_t i = 0; i < group.nodes.size(); ++i) {
      touch_all(group.nodes[i], group.first_step + static_cast<int>(i), &group);
    }
  }
  return lifetimes;
}

}  // namespace ingot
