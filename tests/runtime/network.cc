#include "network.h"

#include <gtest/gtest.h>

#include <cstring>
#include <map>
#include <random>

#include "devices/cpu/cpu_device.h"
#include "formats/tensor_writer.h"
#include "tensor/codec.h"

namespace ingot {
namespace {

constexpr int64_t kWidth = 256, kNumIds = 12, kVocabulary = 512;

template <typename T>
T Must(Result<T> result) {
  if (!result.ok()) std::fprintf(stderr, "%s\n", result.status().message().c_str());
  INGOT_CHECK(result.ok());
  return *std::move(result);
}

}  // namespace

WatchedDevice::WatchedDevice(Kernels kernels)
    : device_(Must(OpenCpuDevice(
          {.num_threads = 2,
           .kernels = kernels == Kernels::kFast ? CpuKernels::kFast : CpuKernels::kReference,
           .target = {}}))) {}

Result<std::unique_ptr<Arena>> WatchedDevice::Allocate(int64_t num_bytes, std::stop_token stop) {
  Result<std::unique_ptr<Arena>> arena = device_->Allocate(num_bytes, stop);
  if (arena.ok()) std::memset((*arena)->bytes().data(), 0xEE, (*arena)->bytes().size());
  return arena;
}
DType WatchedDevice::WeightDType(const op::Op& op, int input_idx, DType file_dtype) const {
  return device_->WeightDType(op, input_idx, file_dtype);
}
Status WatchedDevice::Supports(const OpSignature& signature) const {
  return device_->Supports(signature);
}
bool WatchedDevice::AcceptsRuns(const op::Op& op, int input_idx) const {
  return accepts_runs && device_->AcceptsRuns(op, input_idx);
}
int WatchedDevice::AliasOf(const op::Op& op) const {
  const bool is_elementwise = std::holds_alternative<op::Unary>(op) ||
                              std::holds_alternative<op::Binary>(op) ||
                              std::holds_alternative<op::Affine>(op);
  return writes_in_place && is_elementwise ? 0 : -1;
}
int64_t WatchedDevice::WorkspaceBytes(const OpSignature& signature) const {
  return device_->WorkspaceBytes(signature);
}
Status WatchedDevice::Run(const OpCall& call, std::stop_token stop) {
  if (before_op) before_op();
  return device_->Run(call, stop);
}

WeightsFile::WeightsFile(const Graph& graph) {
  std::string name = testing::TempDir() + "ingot_runtime_XXXXXX";
  INGOT_CHECK(::mkdtemp(name.data()) != nullptr);
  path_ = std::filesystem::path(name) / "weights.gguf";
  std::map<std::string, Shape> shapes;
  for (const Node& node : graph.nodes()) {
    if (const auto* weight = std::get_if<op::Weight>(&node.op)) shapes[weight->name] = node.shape;
  }
  std::vector<TensorSpec> specs;
  for (const auto& [tensor, shape] : shapes) {
    const DType vector = specs.size() % 2 == 0 ? DType::kF16 : DType::kF32;
    specs.push_back({tensor, shape.rank() == 2 ? DType::kQ8_0 : vector, shape});
  }
  const auto writer = Must(TensorWriter::CreateGguf(path_, {}, specs));
  std::mt19937 random(7);
  for (const TensorSpec& spec : specs) {
    std::vector<float> values(static_cast<size_t>(spec.shape.num_elements()));
    for (float& value : values) value = (static_cast<float>(random() >> 8) * 0x1p-23f - 1) * 0.1f;
    std::vector<std::byte> bytes(static_cast<size_t>(NumBytes(spec.dtype, spec.shape)));
    QuantizeRow(spec.dtype, values.data(), bytes.data(), spec.shape.num_elements());
    INGOT_CHECK(writer->Append(bytes).ok());
  }
  INGOT_CHECK(writer->Commit().ok());
}

WeightsFile::~WeightsFile() { std::filesystem::remove_all(path_.parent_path()); }

ComponentTensors WeightsFile::Open() const {
  return NameTensors(std::make_shared<TensorFile>(Must(OpenTensorFile(path_))),
                     [](std::string_view name) { return std::optional<std::string>(name); });
}

Graph Layers(int num_layers) {
  Graph g;
  const Scope w;
  const Value ids = g.Input("ids", {kNumIds}, DType::kI32);
  Value x = g.Embedding(ids, g.Weight(w / "table", "weight", {kVocabulary, kWidth}));
  for (int i = 0; i < num_layers; ++i) {
    const Scope layer = w / "layers" / i;
    const int64_t hidden = 256 * (1 + i * 5 % 4);
    Value y = g.RmsNorm(x, g.Weight(layer, "norm", {kWidth}), 1e-6f);
    y = g.GeluTanh(g.Linear(layer / "up", y, hidden));
    y = g.Linear(layer / "down", y, kWidth, {.bias = false});
    if (i >= 1 && i <= 3) y = g.Linear(w / "shared", y, kWidth, {.bias = false});
    x = g.Add(x, y);
  }
  g.MarkOutput("y", x);
  return g;
}

Program Compile(const Graph& graph, const WeightsFile& file, const Device& device) {
  return Must(Program::Compile(graph, file.Open(), device));
}

Status RunLayers(Execution& execution, int seed, std::stop_token stop, std::vector<float>& y) {
  const auto ids = execution.Input("ids").As<int32_t>();
  for (size_t i = 0; i < ids.size(); ++i) {
    ids[i] = static_cast<int32_t>(static_cast<size_t>(seed) * 31 + i * i * 7) % kVocabulary;
  }
  INGOT_RETURN_IF_ERROR(execution.Run(stop));
  const auto values = execution.Output("y").As<float>();
  y.assign(values.begin(), values.end());
  return {};
}

}  // namespace ingot
