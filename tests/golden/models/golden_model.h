// A tiny checkpoint with inputs and outputs of the reference beside its weights.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "devices/cpu/cpu_device.h"
#include "formats/component_tensors.h"
#include "graph/graph.h"

namespace ingot {

using NamedValues = std::map<std::string, std::vector<float>>;

// Largest |found - expected| over the largest |expected|, of the worst name of `expected`.
double MaxRelativeError(const NamedValues& found, const NamedValues& expected);

// A file of tests/golden/models (make_goldens.py says what is in it). Faults of
// the file or of a run are failed INGOT_CHECKs: there are none in a sound tree.
class GoldenModel {
 public:
  GoldenModel(std::string_view file_name, CanonicalName canonical_name);

  const TensorTable& table() const { return table_; }
  // The graph's input for the tensor `golden.name` of the file.
  Value Input(Graph& g, const std::string& name) const;

  // The outputs of `graph` by `kernels`. Its inputs are those of `inputs`, and
  // of the file where that has none of the name. chunk_rows: as Program::Compile.
  NamedValues Run(Graph graph, CpuKernels kernels, const NamedValues& inputs = {},
                  int64_t chunk_rows = 0) const;

  // Against the reference's tensors of the outputs' names, on the file's inputs.
  double ErrorOf(Graph graph, CpuKernels kernels) const;

 private:
  const TensorEntry& Golden(std::string_view name) const;
  void ReadGolden(std::string_view name, TensorView out) const;

  std::shared_ptr<const TensorFile> file_;
  ComponentTensors weights_;
  TensorTable table_;
};

}  // namespace ingot
