#include "runtime/storage.h"

#include <algorithm>
#include <limits>
#include <optional>

#include "base/check.h"

namespace ingot {
namespace {

// Elements of the dimensions [begin, end).
int64_t Product(const Shape& shape, int begin, int end) {
  int64_t product = 1;
  for (int i = begin; i < end; ++i) product *= shape[i];
  return product;
}

class Assigner {
 public:
  Assigner(const Graph& graph, const Device& device)
      : nodes_(graph.nodes()),
        device_(device),
        links_(nodes_.size()),
        is_output_(nodes_.size()),
        users_(nodes_.size()) {
    for (const Graph::Output& output : graph.outputs()) is_output_[Index(output.value)] = true;
    for (size_t i = 0; i < nodes_.size(); ++i) {
      for (size_t k = 0; k < nodes_[i].inputs.size(); ++k) {
        users_[Index(nodes_[i].inputs[k])].push_back({i, static_cast<int>(k)});
      }
    }
  }

  Storage Assign() {
    for (size_t i = 0; i < nodes_.size(); ++i) {
      if (Is<op::Reshape>(i)) links_[i] = {Index(nodes_[i].inputs[0])};
    }
    for (size_t i = nodes_.size(); i-- > 0;) {  // the outer of two concatenations first
      if (Is<op::Concat>(i)) SpreadConcat(i);
    }
    for (size_t i = 0; i < nodes_.size(); ++i) {
      if (Is<op::Slice>(i) && !links_[i].parent) links_[i] = ViewOfSlice(i);
    }
    FindSteps();
    ReuseOperands();
    return std::move(storage_);
  }

 private:
  // A value inside another's: from element `offset` on, contiguous there, or (num_columns > 0) some
  // columns of its rows of `row_elements`.
  struct Link {
    std::optional<size_t> parent;
    int64_t offset = 0;
    int64_t num_columns = 0;
    int64_t row_elements = 0;
  };
  struct User {
    size_t node;
    int input_idx;
  };

  static size_t Index(Value value) { return static_cast<size_t>(value.id); }
  template <typename T>
  bool Is(size_t node) const {
    return std::holds_alternative<T>(nodes_[node].op);
  }
  bool IsGiven(size_t node) const { return Is<op::Input>(node) || Is<op::Weight>(node); }
  bool IsAligned(size_t node, int64_t num_elements) const {
    return NumBytes(nodes_[node].dtype, Shape{num_elements}) % kTensorAlignment == 0;
  }

  ValuePlace Place(size_t node) const {
    const Link& link = links_[node];
    if (!link.parent) return {.root = static_cast<int32_t>(node)};
    ValuePlace place = Place(*link.parent);
    if (link.num_columns > 0) {
      place.run_stride = place.run_elements > 0 ? place.run_stride : link.row_elements;
      place.run_elements = link.num_columns;
      place.offset += link.offset;
    } else if (place.run_elements > 0) {
      place.offset += link.offset / place.run_elements * place.run_stride;
    } else {
      place.offset += link.offset;
    }
    return place;
  }

  // Whether all that read the value can do so in runs of num_columns.
  bool UsersAcceptRuns(size_t node, int64_t num_columns) const {
    if (is_output_[node]) return false;
    return std::ranges::all_of(users_[node], [&](const User& user) {
      if (Is<op::Reshape>(user.node)) return UsersAcceptRuns(user.node, num_columns);
      if (device_.AcceptsRuns(nodes_[user.node].op, user.input_idx)) return true;
      const auto* slice = std::get_if<op::Slice>(&nodes_[user.node].op);  // then a view itself
      return slice != nullptr && !links_[user.node].parent &&
             slice->axis == nodes_[node].shape.rank() - 1 &&
             nodes_[node].shape.back() == num_columns && IsAligned(node, slice->begin) &&
             UsersAcceptRuns(user.node, slice->end - slice->begin);
    });
  }

  // The op that computes `value`, behind its reshapes; nothing when its place is not free to
  // choose.
  std::optional<size_t> FreeProducer(Value value) const {
    size_t node = Index(value);
    while (Is<op::Reshape>(node)) node = *links_[node].parent;
    if (IsGiven(node) || links_[node].parent) return std::nullopt;
    return node;
  }

  void SpreadConcat(size_t concat) {
    const Node& node = nodes_[concat];
    const int axis = std::get<op::Concat>(node.op).axis, rank = node.shape.rank();
    const bool is_contiguous = Product(node.shape, 0, axis) == 1;
    if (!is_contiguous && (axis != rank - 1 || links_[concat].parent)) return;
    std::vector<size_t> producers;
    std::vector<Link> parts;
    int64_t offset = 0;
    for (Value input : node.inputs) {
      const std::optional<size_t> producer = FreeProducer(input);
      const Shape& shape = nodes_[Index(input)].shape;
      if (!producer || *producer == concat || nodes_[*producer].dtype != node.dtype) return;
      if (std::ranges::count(producers, *producer) > 0 || !IsAligned(concat, offset)) return;
      Link part = {concat, offset};
      if (!is_contiguous) {
        part.num_columns = shape.back();
        part.row_elements = node.shape.back();
        if (!IsAligned(concat, part.row_elements) || Is<op::Concat>(*producer) ||
            !device_.AcceptsRuns(nodes_[*producer].op, -1) ||
            !UsersAcceptRuns(*producer, part.num_columns)) {
          return;
        }
      }
      producers.push_back(*producer);
      parts.push_back(part);
      offset += Product(shape, axis, rank);
    }
    for (size_t k = 0; k < parts.size(); ++k) links_[producers[k]] = parts[k];
    is_spread_.push_back(concat);
  }

  // No link when the op has to run.
  Link ViewOfSlice(size_t node) const {
    const auto& slice = std::get<op::Slice>(nodes_[node].op);
    const size_t input = Index(nodes_[node].inputs[0]);
    const Shape& from = nodes_[input].shape;
    const ValuePlace place = Place(input);
    if (Is<op::Weight>(static_cast<size_t>(place.root))) return {};
    const int64_t inner = Product(from, slice.axis + 1, from.rank());
    const int64_t offset = slice.begin * inner;
    if (!IsAligned(node, offset)) return {};
    const bool is_in_runs = place.run_elements > 0;
    if (Product(from, 0, slice.axis) == 1 && !is_in_runs) return {input, offset};
    const int64_t num_columns = slice.end - slice.begin;
    if (slice.axis != from.rank() - 1 || !UsersAcceptRuns(node, num_columns)) return {};
    if (is_in_runs ? place.run_elements != from.back() : !IsAligned(node, from.back())) return {};
    return {input, offset, num_columns, from.back()};
  }

  void FindSteps() {
    for (size_t i = 0; i < nodes_.size(); ++i) {
      const bool is_view = IsGiven(i) || Is<op::Reshape>(i) ||
                           (Is<op::Slice>(i) && links_[i].parent && !IsPart(i)) ||
                           std::ranges::count(is_spread_, i) > 0;
      if (!is_view) storage_.steps.push_back(static_cast<int32_t>(i));
    }
  }
  // A slice that a concatenation took is a copy into its part.
  bool IsPart(size_t slice) const { return *links_[slice].parent > slice; }

  void ReuseOperands() {
    constexpr size_t kForever = std::numeric_limits<size_t>::max();
    std::vector<size_t> last_use(nodes_.size(), 0);  // of a value itself, by an op that runs
    for (int32_t step : storage_.steps) {
      const auto node = static_cast<size_t>(step);
      for (Value input : nodes_[node].inputs) last_use[Index(input)] = node;
    }
    for (size_t i = 0; i < nodes_.size(); ++i) {
      if (is_output_[i]) last_use[i] = kForever;
    }
    FindPlaces();
    for (int32_t step : storage_.steps) {
      const auto node = static_cast<size_t>(step);
      const int alias = device_.AliasOf(nodes_[node].op);
      if (alias < 0 || links_[node].parent) continue;
      const size_t operand = Index(nodes_[node].inputs[static_cast<size_t>(alias)]);
      if (!MayWriteOver(node, operand, last_use)) continue;
      const ValuePlace& place = storage_.places[operand];
      links_[node] = {static_cast<size_t>(place.root), place.offset, place.run_elements,
                      place.run_stride};
      FindPlaces();
    }
  }

  bool MayWriteOver(size_t node, size_t operand, const std::vector<size_t>& last_use) const {
    const ValuePlace& place = storage_.places[operand];
    if (IsGiven(static_cast<size_t>(place.root)) || nodes_[operand].shape != nodes_[node].shape ||
        nodes_[operand].dtype != nodes_[node].dtype) {
      return false;
    }
    if (place.run_elements > 0 &&
        !(device_.AcceptsRuns(nodes_[node].op, -1) && UsersAcceptRuns(node, place.run_elements))) {
      return false;
    }
    if (std::ranges::count(nodes_[node].inputs, static_cast<int32_t>(operand), &Value::id) > 1) {
      return false;
    }
    for (size_t other = 0; other < nodes_.size(); ++other) {
      if (storage_.places[other].root != place.root || !Overlap(other, operand)) continue;
      if (last_use[other] > node || (last_use[other] == node && other != operand)) return false;
    }
    return true;
  }

  // Of two values of one root; true where it takes more than a look at runs to tell.
  bool Overlap(size_t a, size_t b) const {
    const ValuePlace &pa = storage_.places[a], &pb = storage_.places[b];
    if (pa.run_elements > 0 && pb.run_elements > 0 && pa.run_stride == pb.run_stride) {
      const int64_t column_a = pa.offset % pa.run_stride, column_b = pb.offset % pb.run_stride;
      return column_a < column_b + pb.run_elements && column_b < column_a + pa.run_elements;
    }
    const auto end = [&](size_t node, const ValuePlace& place) {
      const int64_t num_elements = nodes_[node].shape.num_elements();
      return place.offset + (place.run_elements > 0
                                 ? num_elements / place.run_elements * place.run_stride
                                 : num_elements);
    };
    return pa.offset < end(b, pb) && pb.offset < end(a, pa);
  }

  void FindPlaces() {
    storage_.places.clear();
    for (size_t i = 0; i < nodes_.size(); ++i) storage_.places.push_back(Place(i));
  }

  const std::vector<Node>& nodes_;
  const Device& device_;
  std::vector<Link> links_;
  std::vector<bool> is_output_;
  std::vector<std::vector<User>> users_;
  std::vector<size_t> is_spread_;  // concatenations
  Storage storage_;
};

}  // namespace

Storage AssignStorage(const Graph& graph, const Device& device) {
  return Assigner(graph, device).Assign();
}

}  // namespace ingot
