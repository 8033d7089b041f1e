#include "golden_model.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <vector>

#include "runtime/execution.h"
#include "runtime/program.h"

namespace ingot {
namespace {

template <typename T>
T Must(Result<T> result) {
  if (!result.ok()) std::fprintf(stderr, "%s\n", result.status().message().c_str());
  INGOT_CHECK(result.ok());
  return *std::move(result);
}

std::string Path(std::string_view file_name) {
  return fmt::format("{}/tests/golden/models/{}", INGOT_SOURCE_DIR, file_name);
}

double RelativeError(std::span<const float> found, std::span<const float> expected) {
  INGOT_CHECK(found.size() == expected.size());
  double difference = 0, largest = 0;
  for (size_t i = 0; i < found.size(); ++i) {
    if (!std::isfinite(found[i])) return INFINITY;
    difference = std::max(difference, std::abs(double{found[i]} - double{expected[i]}));
    largest = std::max(largest, std::abs(double{expected[i]}));
  }
  return difference / largest;
}

}  // namespace

GoldenModel::GoldenModel(std::string_view file_name, CanonicalName canonical_name)
    : file_(std::make_shared<TensorFile>(Must(OpenTensorFile(Path(file_name))))),
      weights_(NameTensors(file_, canonical_name)),
      table_(weights_.Table()) {}

const TensorEntry& GoldenModel::Golden(std::string_view name) const {
  const TensorEntry* entry = file_->Find(fmt::format("golden.{}", name));
  INGOT_CHECK(entry != nullptr);
  return *entry;
}

Value GoldenModel::Input(Graph& g, const std::string& name) const {
  return g.Input(name, Golden(name).shape, Golden(name).dtype);
}

void GoldenModel::ReadGolden(std::string_view name, TensorView out) const {
  const TensorEntry& golden = Golden(name);
  INGOT_CHECK(golden.shape == out.shape && golden.dtype == out.dtype);
  INGOT_CHECK(file_->ReadTensor(golden, {out.data, static_cast<size_t>(out.num_bytes())}).ok());
}

NamedValues GoldenModel::Run(Graph graph, CpuKernels kernels, const NamedValues& inputs,
                             int64_t chunk_rows) const {
  const std::unique_ptr<Device> device =
      Must(OpenCpuDevice({.num_threads = 1, .kernels = kernels, .target = {}}));
  const Program program = Must(Program::Compile(std::move(graph), weights_, *device,
                                                {.chunk_rows = chunk_rows, .strips = {}}));
  const auto execution = Must(Execution::Start(program, *device));
  for (const Node& node : program.graph().nodes()) {
    const auto* input = std::get_if<op::Input>(&node.op);
    if (input == nullptr) continue;
    const TensorView view = execution->Input(input->name);
    const auto given = inputs.find(input->name);
    if (given == inputs.end()) {
      ReadGolden(input->name, view);
    } else {
      INGOT_CHECK(given->second.size() == view.As<float>().size());
      std::ranges::copy(given->second, view.As<float>().begin());
    }
  }
  INGOT_CHECK(execution->Run({}).ok());
  NamedValues outputs;
  for (const Graph::Output& output : program.graph().outputs()) {
    const std::span<const float> values = execution->Output(output.name).As<float>();
    outputs[output.name].assign(values.begin(), values.end());
  }
  return outputs;
}

double GoldenModel::ErrorOf(Graph graph, CpuKernels kernels) const {
  NamedValues expected;
  for (const auto& [name, value] : graph.outputs()) {
    std::vector<float>& values = expected[name];
    values.resize(static_cast<size_t>(graph.shape(value).num_elements()));
    ReadGolden(name,
               {DType::kF32, graph.shape(value), std::as_writable_bytes(std::span(values)).data()});
  }
  return MaxRelativeError(Run(std::move(graph), kernels), expected);
}

double MaxRelativeError(const NamedValues& found, const NamedValues& expected) {
  double error = 0;
  for (const auto& [name, values] : expected) {
    error = std::max(error, RelativeError(found.at(name), values));
  }
  return error;
}

}  // namespace ingot
