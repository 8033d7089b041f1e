// A graph compiled for a device: every weight found, every byte placed.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "base/status.h"
#include "devices/device.h"
#include "formats/component_tensors.h"
#include "graph/graph.h"
#include "memory/chunk.h"
#include "memory/cost.h"
#include "memory/layout.h"
#include "memory/plan.h"
#include "memory/transfers.h"
#include "runtime/storage.h"
#include "runtime/strips.h"

namespace ingot {

// Compiling reads no tensor: headers and shapes are enough, so all faults of a
// file's header are found here, before any work.
class Program {
 public:
  // One weight of the graph: where it is in the file and how it comes to memory.
  struct BoundWeight {
    const TensorEntry* entry = nullptr;  // of the rows that the node has
    DType dtype = DType::kF32;           // in memory; F32 where the device wants plain numbers
    bool is_staged = false;              // WeightStream::Target
    std::vector<int32_t> nodes;          // that declare it
  };

  // A table of which only the rows that ids name are read, when the step comes: the step's op gets
  // these rows, in the order of ids, and the ids 0, 1, 2, …
  struct Gather {
    const TensorEntry* table = nullptr;
    int64_t num_rows = 0;
    // In the arena.
    int64_t rows_offset = 0, ids_offset = 0, pages_offset = 0;  // pages: room of one row's
    int64_t host_offset = 0;  // in the host block: rows, ids, pages one after the other
    int64_t row_bytes() const { return table->num_bytes / table->shape[0]; }
    int64_t rows_bytes() const { return num_rows * row_bytes(); }
    int64_t ids_bytes() const { return num_rows * Info(DType::kI32).block_bytes; }
    int64_t pages_bytes() const { return row_bytes() + 3 * kPageBytes; }
  };

  // A spilled picture that a step reads or writes, through two windows of its rows in turn.
  struct Window {
    int input_idx = -1;        // the operand; -1: the output
    int64_t spill_offset = 0;  // of the picture in the spill
    int64_t row_bytes = 0;
    int64_t num_rows = 0;                 // most that one window holds
    std::array<int64_t, 2> offsets = {};  // in the arena
  };

  // One op of a run.
  struct Step : ingot::Step {
    int64_t workspace_offset = 0, workspace_bytes = 0;  // in the arena
    int32_t gather = -1;                                // index in gathers()
    std::vector<Window> windows;                        // some: the step runs strip by strip
    // GroupNormStats of the output, taken of each strip while it is in memory; -1: none.
    int32_t stats = -1;
    int64_t stats_workspace_offset = 0, stats_workspace_bytes = 0;
  };

  // Less memory, the same bits.
  struct Options {
    int64_t chunk_rows = 0;  // ChunkTokens
    StripOptions strips;
  };

  // Joins the graph's weights with the file's tensors, all of them resident. kCorruption names the
  // file, the tensor, what was expected and what was found; kUnsupported an op that the device does
  // not have.
  static Result<Program> Compile(Graph graph, ComponentTensors tensors, const Device& device,
                                 const Options& options);
  static Result<Program> Compile(Graph graph, ComponentTensors tensors, const Device& device) {
    return Compile(std::move(graph), std::move(tensors), device, Options());
  }

  // Memory for weights, and how often the program will run with it.
  struct WeightBudget {
    int64_t num_bytes = 0;
    int64_t num_runs = 1;
    bool keep = false;  // TransferRequest
  };
  // Plans the transfers again. kOutOfBudget names the file and the least (LeastBytes(uses)).
  Status PlaceWeights(const WeightBudget& budget);

  // On a device with memory of its own, until the next PlaceWeights: weights that every run reads
  // stay in RAM, up to num_bytes.
  void HoldInRam(int64_t num_bytes) { ingot::HoldInRam(weight_uses_, num_bytes, transfers_); }

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
  const Schedule& schedule() const { return schedule_; }

  // The arena of a run: activations and workspaces, then the staging of weights, then the ring.
  // Resident weights have a block of their own, which may outlive the run.
  int64_t activation_offset(int32_t root) const { return offsets_[static_cast<size_t>(root)]; }
  int64_t staging_offset() const;
  int64_t ring_offset() const;
  int64_t arena_bytes() const { return ring_offset() + transfers_.ring_bytes; }

  // On a device with memory of its own: the block of host memory that its copies go through. First
  // WeightStream::kPinnedBytes of the reader, then inputs and outputs, then rows of tables, then
  // spilled pictures. 0: the device computes in RAM.
  int64_t host_bytes() const { return host_bytes_; }
  int64_t host_offset(int32_t node) const { return host_offsets_[static_cast<size_t>(node)]; }

  // Names the content of the block of resident weights: the file's version, and what stands where.
  // Of two programs with one key the blocks are equal, byte by byte. Empty: nothing is resident.
  std::string ResidentsKey() const;

  // Room for spilled pictures: on disk, or from spill_offset on in the host block; and the height
  // of the strips in which they are made.
  int64_t spilled_bytes() const { return pictures_.num_bytes; }
  int64_t scratch_bytes() const { return host_bytes_ > 0 ? 0 : pictures_.num_bytes; }
  int64_t spill_offset() const { return spill_offset_; }
  int64_t strip_rows() const { return options_.strips.strip_rows; }

  // With rates the plan has its seconds: those of the steps, in which the weights come as the
  // transfers say, and of the arenas.
  PhasePlan Plan(std::string phase_name, const DeviceRates* rates = nullptr) const;

 private:
  Program(Graph graph, ComponentTensors tensors, const Options& options)
      : graph_(std::move(graph)), tensors_(std::move(tensors)), options_(options) {}
  void FindStrips(const Device& device);
  void AddWindows(Step& step);
  // The operands of a step as the device sees them. Views of the graph and of this.
  struct Operands {
    std::vector<Shape> shapes;
    std::vector<DType> dtypes;
    OpSignature signature;
  };
  void FindOperands(const Step& step, Operands& operands) const;
  void FindStatsOperands(const Step& step, Operands& operands) const;
  double StepSeconds(const Step& step, const DeviceRates& rates) const;
  Status BindWeights();
  void ChooseDTypes(const Device& device);
  void FindGathers();
  void FindWeightUses();
  Status CheckSupport(const Device& device);
  void LayOutActivations();
  void LayOutHost();
  // The file's, or an entry in rows_ for the rows of it that the node has.
  Result<const TensorEntry*> FindTensor(const Node& node);

  Graph graph_;
  ComponentTensors tensors_;
  Options options_;
  SpilledPictures pictures_;
  std::map<int32_t, int32_t> stats_of_;  // of a spilled picture: the node of its statistics
  Schedule schedule_;                    // of the nodes that run
  Storage storage_;
  std::vector<Step> steps_;
  std::vector<Gather> gathers_;
  std::map<std::pair<uint64_t, int64_t>, TensorEntry> rows_;  // by offset and bytes
  std::vector<BoundWeight> weights_;                          // in the order of first use
  std::vector<WeightUse> weight_uses_;                        // of weights_
  std::vector<DType> dtypes_;                                 // of every node, in memory
  std::vector<int64_t> offsets_;                              // of every root that is an activation
  ArenaLayout layout_;
  int64_t host_bytes_ = 0, spill_offset_ = 0;
  std::vector<int64_t> host_offsets_;  // of every node that is input or output
  TransferPlan transfers_;
};

}  // namespace ingot
