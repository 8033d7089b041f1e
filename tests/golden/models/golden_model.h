// A tiny checkpoint with inputs and outputs of the reference beside its weights.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "devices/cpu/cpu_device.h"
#include "formats/component_tensors.h"
#include "graph/graph.h"

namespace ingot {

// A file of tests/golden/models (make_goldens.py says what is in it). Faults of
// the file or of a run are failed INGOT_CHECKs: there are none in a sound tree.
class GoldenModel {
 public:
  GoldenModel(std::string_view file_name, CanonicalName canonical_name);

  const TensorTable& table() const { return table_; }
  // The graph's input for the tensor `golden.name` of the file.
  Value Input(Graph& g, const std::string& name) const;

  // Runs `graph` by `kernels` on the file's inputs; max |a - b| / max |b| over
  // all its outputs, b being the reference's tensor of the output's name.
  double MaxRelativeError(Graph graph, CpuKernels kernels) const;

 private:
  const TensorEntry& Golden(std::string_view name) const;

  std::shared_ptr<const TensorFile> file_;
  ComponentTensors weights_;
  TensorTable table_;
};

}  // namespace ingot
