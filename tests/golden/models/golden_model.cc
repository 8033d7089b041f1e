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

double GoldenModel::MaxRelativeError(Graph graph, CpuKernels kernels) const {
  const std::unique_ptr<Device> device =
      Must(OpenCpuDevice({.num_threads = 1, .kernels = kernels, .target = {}}));
  const Program program = Must(Program::Compile(std::move(graph), weights_, *device));
  const auto execution = Must(Execution::Start(program, *device));
  for (const Node& node : program.graph().nodes()) {
    const auto* input = std::get_if<op::Input>(&node.op);
    if (input == nullptr) continue;
    const TensorView view = execution->Input(input->name);
    const TensorEntry& golden = Golden(input->name);
    INGOT_CHECK(golden.shape == view.shape && golden.dtype == view.dtype);
    INGOT_CHECK(file_->ReadTensor(golden, {view.data, static_cast<size_t>(view.num_bytes())}).ok());
  }
  INGOT_CHECK(execution->Run({}).ok());
  double error = 0;
  for (const Graph::Output& output : program.graph().outputs()) {
    const TensorEntry& golden = Golden(output.name);
    const ConstTensorView found = execution->Output(output.name);
    INGOT_CHECK(golden.shape == found.shape && golden.dtype == DType::kF32);
    std::vector<float> expected(static_cast<size_t>(golden.shape.num_elements()));
    INGOT_CHECK(file_->ReadTensor(golden, std::as_writable_bytes(std::span(expected))).ok());
    error = std::max(error, RelativeError(found.As<float>(), expected));
  }
  return error;
}

}  // namespace ingot
