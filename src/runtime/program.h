// A graph compiled for a device: every weight found, every byte placed.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/status.h"
#include "devices/device.h"
#include "formats/component_tensors.h"
#include "graph/graph.h"
#include "memory/layout.h"
#include "memory/plan.h"
#include "memory/transfers.h"
#include "runtime/storage.h"

namespace ingot {

// Compiling reads no tensor: headers and shapes are enough, so all faults of a
// file's header are found here, before any work.
class Program {
 public:
  // One weight of the graph: where it is in the file and how it comes to memory.
  struct BoundWeight {
    const TensorEntry* entry = nullptr;
    DType dtype = DType::kF32;   // in memory; F32 where the device wants plain numbers
    bool is_staged = false;      // WeightStream::Target
    std::vector<int32_t> nodes;  // that declare it
  };

  // A table of which only the rows that ids name are read, when the step comes: the step's op gets
  // these rows, in the order of ids, and the ids 0, 1, 2, …
  struct Gather {
    const TensorEntry* table = nullptr;
    int64_t num_rows = 0;
    // In the arena.
    int64_t rows_offset = 0, ids_offset = 0, pages_offset = 0;  // pages: room of one row's
    int64_t row_bytes() const { return table->num_bytes / table->shape[0]; }
    int64_t pages_bytes() const { return row_bytes() + 3 * kPageBytes; }
  };

  // One op of a run.
  struct Step {
    int32_t node = -1;
    int64_t workspace_offset = 0, workspace_bytes = 0;  // in the arena
    int32_t gather = -1;                                // index in gathers()
  };

  // Joins the graph's weights with the file's tensors, all of them resident. kCorruption names the
  // file, the tensor, what was expected and what was found; kUnsupported an op that the device does
  // not have.
  static Result<Program> Compile(Graph graph, ComponentTensors tensors, const Device& device);

  // Memory for weights, and how often the program will run with it.
  struct WeightBudget {
    int64_t num_bytes = 0;
    int64_t num_runs = 1;
  };
  // Plans the transfers again. kOutOfBudget names the file and the least (LeastBytes(uses)).
  Status PlaceWeights(const WeightBudget& budget);

  // For the choice of a budget: LeastBytes, DoubleBufferedBytes and AllResidentBytes of these.
  const std::vector<WeightUse>& weight_uses() const { return weight_uses_; }

  const Graph& graph() const { return graph_; }
  const ComponentTensors& tensors() const { return tensors_; }
  const std::vector<Step>& steps() const { return steps_; }
  const std::vector<Gather>& gathers() const { return gathers_; }
  const std::vector<BoundWeight>& weights() const { return weights_; }  // as weight_uses()
  const TransferPlan& transfers() const { return transfers_; }
  DType dtype(int32_t node) const { return dtypes_[static_cast<size_t>(node)]; }  // in memory
  const ValuePlace& place(int32_t node) const { return storage_.places[static_cast<size_t>(node)]; }

  // The one arena of a run: activations and workspaces, then the staging of weights, then the block
  // of weights (TransferPlan::Load::offset).
  int64_t activation_offset(int32_t root) const { return offsets_[static_cast<size_t>(root)]; }
  int64_t staging_offset() const;
  int64_t weights_offset() const;
  int64_t arena_bytes() const { return weights_offset() + transfers_.num_bytes(); }

  PhasePlan Plan(std::string phase_name) const;

 private:
  Program(Graph graph, ComponentTensors tensors)
      : graph_(std::move(graph)), tensors_(std::move(tensors)) {}
  Status BindWeights();
  void ChooseDTypes(const Device& device);
  void FindGathers();
  void FindWeightUses();
  Status CheckSupport(const Device& device);
  void LayOutActivations();
  Result<const TensorEntry*> FindTensor(const Node& weight) const;

  Graph graph_;
  ComponentTensors tensors_;
  Storage storage_;
  std::vector<Step> steps_;
  std::vector<Gather> gathers_;
  std::vector<BoundWeight> weights_;    // in the order of first use
  std::vector<WeightUse> weight_uses_;  // of weights_
  std::vector<DType> dtypes_;           // of every node, in memory
  std::vector<int64_t> offsets_;        // of every root that is an activation
  ArenaLayout layout_;
  TransferPlan transfers_;
};

}  // namespace ingot
