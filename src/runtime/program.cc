#include "runtime/program.h"

#include <algorithm>
#include <map>

namespace ingot {
namespace {

bool IsWeight(const Node& node) { return std::holds_alternative<op::Weight>(node.op); }

// Input, weight and reshape move no bytes and never reach the device.
bool IsView(const Node& node) {
  return IsWeight(node) || std::holds_alternative<op::Input>(node.op) ||
         std::holds_alternative<op::Reshape>(node.op);
}

// What the checkpoint must have for a weight's node.
Shape CheckpointShape(const Node& node) {
  Shape shape = node.shape;
  const int64_t rows = std::get<op::Weight>(node.op).checkpoint_rows;
  if (rows > 0) shape[0] = rows;
  return shape;
}

Status CheckShape(const ComponentTensors& tensors, const TensorEntry& entry, const Shape& shape) {
  if (entry.shape == shape) return {};
  return Corruption("{}: tensor '{}': expected shape {}, found {}", tensors.path(), entry.name,
                    shape.ToString(), entry.shape.ToString());
}

}  // namespace

Result<Program> Program::Compile(Graph graph, ComponentTensors tensors, const Device& device) {
  Program program(std::move(graph), std::move(tensors));
  program.FindRoots();
  INGOT_RETURN_IF_ERROR(program.BindWeights(device));
  INGOT_RETURN_IF_ERROR(program.CheckSupport(device));
  program.LayOutActivations();
  return program;
}

void Program::FindRoots() {
  const std::vector<Node>& nodes = graph_.nodes();
  for (size_t i = 0; i < nodes.size(); ++i) {
    const bool reshape = std::holds_alternative<op::Reshape>(nodes[i].op);
    roots_.push_back(reshape ? Root(nodes[i].inputs[0].id) : static_cast<int32_t>(i));
  }
}

Status Program::BindWeights(const Device& device) {
  const std::vector<Node>& nodes = graph_.nodes();
  for (const Node& node : nodes) dtypes_.push_back(node.dtype);

  std::map<const TensorEntry*, size_t> bound;  // -> index in weights_
  for (size_t i = 0; i < nodes.size(); ++i) {
    if (!IsWeight(nodes[i])) continue;
    const std::string& name = std::get<op::Weight>(nodes[i].op).name;
    const Shape expected = CheckpointShape(nodes[i]);
    const auto tensor = tensors_.by_name.find(name);
    if (tensor == tensors_.by_name.end()) {
      return Corruption("{}: expected tensor '{}' of shape {}, found none", tensors_.path(), name,
                        expected.ToString());
    }
    INGOT_RETURN_IF_ERROR(CheckShape(tensors_, *tensor->second, expected));
    INGOT_ASSIGN_OR_RETURN(const TensorEntry* entry, FindRows(*tensor->second, nodes[i]));
    const auto [it, is_new] = bound.emplace(entry, weights_.size());
    if (is_new) weights_.push_back({.entry = entry, .dtype = entry->dtype, .nodes = {}});
    weights_[it->second].nodes.push_back(static_cast<int32_t>(i));
  }

  // A user that wants plain numbers decides for all; so does a row that is no
  // whole number of blocks (tensors reshaped for GGUF).
  for (BoundWeight& weight : weights_) {
    if (weight.entry->shape.back() % Info(weight.dtype).block_elements != 0) {
      weight.dtype = DType::kF32;
    }
  }
  std::vector<BoundWeight*> weight_of(nodes.size(), nullptr);
  for (BoundWeight& weight : weights_) {
    for (int32_t node : weight.nodes) weight_of[static_cast<size_t>(node)] = &weight;
  }
  for (const Node& node : nodes) {
    for (size_t k = 0; k < node.inputs.size(); ++k) {
      BoundWeight* weight = weight_of[static_cast<size_t>(Root(node.inputs[k].id))];
      if (weight == nullptr || IsView(node)) continue;
      weight->dtype = device.WeightDType(node.op, static_cast<int>(k), weight->dtype);
    }
  }
  for (BoundWeight& weight : weights_) {
    weight.offset = weight_bytes_;
    weight_bytes_ += AlignedBytes(NumBytes(weight.dtype, weight.entry->shape));
    file_bytes_ += weight.entry->num_bytes;
    for (int32_t node : weight.nodes) dtypes_[static_cast<size_t>(node)] = weight.dtype;
  }
  for (size_t i = 0; i < nodes.size(); ++i) dtypes_[i] = dtypes_[static_cast<size_t>(roots_[i])];
  return {};
}

Result<const TensorEntry*> Program::FindRows(const TensorEntry& tensor, const Node& node) {
  const auto& weight = std::get<op::Weight>(node.op);
  if (weight.checkpoint_rows == 0) return &tensor;
  const int64_t row_elements = node.shape.num_elements() / node.shape[0];
  if (row_elements % Info(tensor.dtype).block_elements != 0) {
    return Unsupported("{}: tensor '{}': expected rows of whole {} blocks, found {} elements a row",
                       tensors_.path(), tensor.name, Name(tensor.dtype), row_elements);
  }
  TensorEntry rows = tensor;
  rows.shape = node.shape;
  rows.offset += static_cast<uint64_t>(NumBytes(tensor.dtype, {weight.row_begin * row_elements}));
  rows.num_bytes = NumBytes(tensor.dtype, {node.shape.num_elements()});
  return &rows_.try_emplace({rows.offset, rows.num_bytes}, std::move(rows)).first->second;
}

Status Program::CheckSupport(const Device& device) {
  for (size_t i = 0; i < graph_.nodes().size(); ++i) {
    const Node& node = graph_.nodes()[i];
    if (IsView(node)) continue;
    std::vector<Shape> shapes;
    std::vector<DType> dtypes;
    for (Value input : node.inputs) {
      shapes.push_back(graph_.shape(input));
      dtypes.push_back(dtypes_[static_cast<size_t>(input.id)]);
    }
    const OpSignature signature = {&node.op, shapes, dtypes, node.shape, node.dtype};
    INGOT_RETURN_IF_ERROR(device.Supports(signature));
    workspace_bytes_ = std::max(workspace_bytes_, device.WorkspaceBytes(signature));
  }
  return {};
}

void Program::LayOutActivations() {
  const std::vector<Node>& nodes = graph_.nodes();
  const int end = static_cast<int>(nodes.size());
  std::vector<BufferLifetime> lifetimes(nodes.size());
  for (size_t i = 0; i < nodes.size(); ++i) {
    const auto at = static_cast<int>(i);
    if (roots_[i] == at && !IsWeight(nodes[i])) {
      // Inputs keep their content from run to run.
      const bool input = std::holds_alternative<op::Input>(nodes[i].op);
      lifetimes[i] = {NumBytes(nodes[i].dtype, nodes[i].shape), input ? 0 : at, input ? end : at};
    }
    for (Value operand : nodes[i].inputs) {
      BufferLifetime& lifetime = lifetimes[static_cast<size_t>(Root(operand.id))];
      lifetime.last_step = std::max(lifetime.last_step, at);
    }
  }
  for (const Graph::Output& output : graph_.outputs()) {
    lifetimes[static_cast<size_t>(Root(output.value.id))].last_step = end;
  }

  std::vector<BufferLifetime> buffers;
  std::vector<size_t> owners;
  for (size_t i = 0; i < nodes.size(); ++i) {
    if (lifetimes[i].num_bytes == 0) continue;
    buffers.push_back(lifetimes[i]);
    owners.push_back(i);
  }
  layout_ = LayOutArena(buffers);
  offsets_.assign(nodes.size(), -1);
  for (size_t k = 0; k < owners.size(); ++k) offsets_[owners[k]] = layout_.offsets[k];
}

PhasePlan Program::Plan(std::string phase_name) const {
  return {.name = std::move(phase_name),
          .arena_bytes = arena_bytes(),
          .max_live_bytes = layout_.max_live_bytes + workspace_bytes_,
          .resident_bytes = weight_bytes_,
          .streamed_bytes = file_bytes_};
}

}  // namespace ingot
