#include "runtime/strips.h"

#include <algorithm>

#include "memory/layout.h"
#include "runtime/scratch_file.h"

namespace ingot {
namespace {

// Whether operand `input_idx` of `op` may come in windows of rows.
bool ReadsWindows(const op::Op& op, int input_idx) {
  if (const auto* conv = std::get_if<op::Conv2d>(&op)) {
    return input_idx == 0 || input_idx == op::OperandsOf(*conv).residual;
  }
  return input_idx == 0 && std::holds_alternative<op::GroupNormStats>(op);
}

}  // namespace

SpilledPictures FindSpilledPictures(const Graph& graph, const Storage& storage,
                                    const Device& device, const StripOptions& options) {
  const std::vector<Node>& nodes = graph.nodes();
  SpilledPictures pictures = {.spill_offsets = std::vector<int64_t>(nodes.size(), -1)};
  if (options.max_picture_bytes == std::numeric_limits<int64_t>::max()) return pictures;

  const auto root_of = [&](Value value) {
    return static_cast<size_t>(storage.places[static_cast<size_t>(value.id)].root);
  };
  const auto is_whole = [&](size_t node) {
    const ValuePlace& place = storage.places[node];
    const Node& root = nodes[static_cast<size_t>(place.root)];
    return place.offset == 0 && place.run_elements == 0 && nodes[node].shape == root.shape &&
           nodes[node].dtype == root.dtype;
  };
  std::vector<bool> can_spill(nodes.size(), false);
  for (size_t i = 0; i < nodes.size(); ++i) {
    const Shape& shape = nodes[i].shape;
    if (!std::holds_alternative<op::Conv2d>(nodes[i].op) || !device.AcceptsStrips(nodes[i].op)) {
      continue;
    }
    const int64_t num_bytes = NumBytes(nodes[i].dtype, shape);
    can_spill[i] = shape[0] == 1 && num_bytes > options.max_picture_bytes &&
                   num_bytes / shape[1] % kScratchAlignment == 0;
  }
  const auto keep = [&](size_t root) { can_spill[root] = false; };
  for (size_t i = 0; i < nodes.size(); ++i) {
    const Value value = {static_cast<int32_t>(i)};
    const bool makes_strips =
        std::holds_alternative<op::Conv2d>(nodes[i].op) && device.AcceptsStrips(nodes[i].op);
    if (!is_whole(i) || !makes_strips) keep(root_of(value));
    for (size_t k = 0; k < nodes[i].inputs.size(); ++k) {
      const bool reads =
          ReadsWindows(nodes[i].op, static_cast<int>(k)) && device.AcceptsStrips(nodes[i].op);
      if (!reads) keep(root_of(nodes[i].inputs[k]));
    }
  }
  for (const Graph::Output& output : graph.outputs()) keep(root_of(output.value));

  std::vector<BufferLifetime> lifetimes(nodes.size());
  for (size_t step = 0; step < storage.steps.size(); ++step) {
    const auto at = static_cast<int>(step);
    const Node& node = nodes[static_cast<size_t>(storage.steps[step])];
    const auto touch = [&](size_t root) {
      if (!can_spill[root]) return;
      BufferLifetime& lifetime = lifetimes[root];
      if (lifetime.num_bytes == 0) {
        lifetime = {NumBytes(nodes[root].dtype, nodes[root].shape), at, at};
      }
      lifetime.last_step = at;
    };
    touch(root_of({storage.steps[step]}));
    for (Value input : node.inputs) touch(root_of(input));
  }
  std::vector<BufferLifetime> spilled;
  std::vector<size_t> roots;
  for (size_t i = 0; i < nodes.size(); ++i) {
    if (lifetimes[i].num_bytes == 0) continue;
    spilled.push_back(lifetimes[i]);
    roots.push_back(i);
  }
  const ArenaLayout layout = LayOutArena(spilled);
  for (size_t k = 0; k < roots.size(); ++k) pictures.spill_offsets[roots[k]] = layout.offsets[k];
  pictures.num_bytes = layout.arena_bytes;
  return pictures;
}

RowRange WindowOf(const op::Conv2d& op, int64_t kernel_rows, int64_t num_rows, RowRange output) {
  const int64_t end = (output.end + kStripGrid - 1) / kStripGrid * kStripGrid;
  const int64_t up = op.upsample ? 2 : 1;
  const int64_t first = output.begin * op.stride - op.pad_top;
  const int64_t last = (end - 1) * op.stride - op.pad_top + kernel_rows - 1;
  return {std::clamp<int64_t>(first < 0 ? 0 : first / up, 0, num_rows),
          std::clamp<int64_t>(last / up + 1, 0, num_rows)};
}

}  // namespace ingot
