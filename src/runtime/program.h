// A graph compiled for a device: every weight found, every byte placed.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "base/status.h"
#include "devices/device.h"
#include "formats/component_tensors.h"
#include "graph/graph.h"
#include "memory/layout.h"
#include "memory/plan.h"

namespace ingot {

// Compiling reads no tensor: headers and shapes are enough, so all faults of a
// file's header are found here, before any work.
class Program {
 public:
  // One weight of the graph: where it is in the file and in memory.
  struct BoundWeight {
    const TensorEntry* entry = nullptr;  // of the rows that the node has
    DType dtype = DType::kF32;   // in memory; F32 where the device wants plain numbers
    int64_t offset = 0;          // in the weights' block
    std::vector<int32_t> nodes;  // that declare it
  };

  // Joins the graph's weights with the file's tensors. kCorruption names the
  // file, the tensor, what was expected and what was found; kUnsupported an op
  // that the device does not have.
  static Result<Program> Compile(Graph graph, ComponentTensors tensors, const Device& device);

  const Graph& graph() const { return graph_; }
  const ComponentTensors& tensors() const { return tensors_; }
  const std::vector<BoundWeight>& weights() const { return weights_; }
  // The node that owns the bytes of node `id`: itself, or the source of a reshape.
  int32_t Root(int32_t id) const { return roots_[static_cast<size_t>(id)]; }
  // Offset of an activation in the arena; -1 for weights.
  int64_t activation_offset(int32_t id) const { return offsets_[static_cast<size_t>(Root(id))]; }
  int64_t workspace_offset() const { return layout_.arena_bytes; }
  int64_t workspace_bytes() const { return workspace_bytes_; }
  int64_t arena_bytes() const { return layout_.arena_bytes + workspace_bytes_; }
  int64_t weight_bytes() const { return weight_bytes_; }

  PhasePlan Plan(std::string phase_name) const;

 private:
  Program(Graph graph, ComponentTensors tensors)
      : graph_(std::move(graph)), tensors_(std::move(tensors)) {}
  void FindRoots();
  Status BindWeights(const Device& device);
  // `tensor`, or the part of it that the node of a weight has: a tensor of its own from here on.
  Result<const TensorEntry*> FindRows(const TensorEntry& tensor, const Node& node);
  Status CheckSupport(const Device& device);
  void LayOutActivations();

  Graph graph_;
  ComponentTensors tensors_;
  std::vector<int32_t> roots_;
  std::map<std::pair<uint64_t, int64_t>, TensorEntry> rows_;  // by offset and bytes
  std::vector<BoundWeight> weights_;
  std::vector<DType> dtypes_;     // of every node, in memory
  std::vector<int64_t> offsets_;  // of every root activation
  ArenaLayout layout_;
  int64_t workspace_bytes_ = 0;
  int64_t weight_bytes_ = 0;
  int64_t file_bytes_ = 0;
};

}  // namespace ingot
