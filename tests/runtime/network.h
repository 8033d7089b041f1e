// Small networks with random weights in a file, and a device that tells of every op.
#pragma once

#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "devices/device.h"
#include "formats/component_tensors.h"
#include "graph/graph.h"
#include "runtime/execution.h"

namespace ingot {

// Reference kernels of the CPU, or its fast ones, behind switches and a callback.
class WatchedDevice final : public Device {
 public:
  enum class Kernels { kFast, kReference };
  explicit WatchedDevice(Kernels kernels = Kernels::kReference);

  std::function<void()> before_op;  // may be empty
  bool accepts_runs = true;
  bool writes_in_place = true;  // elementwise ops (the reference reads all before it writes)

  std::string_view name() const override { return "watched"; }
  Result<std::unique_ptr<Arena>> Allocate(int64_t num_bytes, std::stop_token stop) override;
  DType WeightDType(const op::Op& op, int input_idx, DType file_dtype) const override;
  Status Supports(const OpSignature& signature) const override;
  bool AcceptsRuns(const op::Op& op, int input_idx) const override;
  int AliasOf(const op::Op& op) const override;
  bool AcceptsStrips(const op::Op&) const override { return false; }
  int64_t WorkspaceBytes(const OpSignature& signature) const override;
  Status Run(const OpCall& call, std::stop_token stop) override;

 private:
  const std::unique_ptr<Device> device_;
};

// A file of random tensors, removed with the object.
class WeightsFile {
 public:
  // Weights of `graph`: two dimensions Q8_0, one F16 (converted on the way) or F32 by turns.
  explicit WeightsFile(const Graph& graph);
  ~WeightsFile();

  const std::filesystem::path& path() const { return path_; }
  ComponentTensors Open() const;

 private:
  std::filesystem::path path_;
};

// ids [12] through a table and `num_layers` blocks of norm, two linears of changing widths and a
// residual -> "y" [12, 256]. One linear is shared by three blocks.
Graph Layers(int num_layers);

Program Compile(const Graph& graph, const WeightsFile& file, const Device& device);

// One run of Layers, ids from `seed`; the status, and y.
Status RunLayers(Execution& execution, int seed, std::stop_token stop, std::vector<float>& y);

}  // namespace ingot
