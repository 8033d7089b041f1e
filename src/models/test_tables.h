// What a graph is made of: its weights as a table, its ops; for tests of networks.
#pragma once

#include <map>
#include <string>
#include <string_view>

#include "base/check.h"
#include "graph/graph.h"
#include "tensor/tensor_table.h"

namespace ingot {

// A checkpoint that holds exactly the weights of `graph`, each once.
inline TensorTable TableOfWeights(const Graph& graph) {
  TensorTable table("checkpoint");
  for (const Node& node : graph.nodes()) {
    const auto* weight = std::get_if<op::Weight>(&node.op);
    if (weight == nullptr) continue;
    INGOT_CHECK(table.Find(weight->name) == nullptr);
    table.Add(weight->name, {DType::kF32, node.shape});
  }
  return table;
}

inline int64_t NumParameters(const TensorTable& table) {
  int64_t count = 0;
  for (const auto& [name, info] : table.tensors()) count += info.shape.num_elements();
  return count;
}

// `table` with one tensor of another shape, or without it when `shape` is null.
inline TensorTable WithTensor(const TensorTable& table, const std::string& name,
                              const Shape* shape) {
  TensorTable changed(table.source());
  if (shape != nullptr) changed.Add(name, {DType::kF32, *shape});
  for (const auto& [other, info] : table.tensors()) {
    if (other != name) changed.Add(other, info);
  }
  return changed;
}

// How often each op stands in `graph`; inputs and weights left out.
inline std::map<std::string_view, int> CountOps(const Graph& graph) {
  std::map<std::string_view, int> counts;
  for (const Node& node : graph.nodes()) {
    if (!node.inputs.empty()) ++counts[op::Name(node.op)];
  }
  return counts;
}

}  // namespace ingot
