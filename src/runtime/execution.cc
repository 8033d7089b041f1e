#include "runtime/execution.h"

#include <algorithm>
#include <cmath>

#include "tensor/codec.h"

namespace ingot {
namespace {

// Reads a tensor that is wanted as F32: pieces through a fixed buffer, so that
// a conversion needs no second copy of the tensor.
Status ReadAsF32(const TensorFile& file, const TensorEntry& entry, std::span<float> out) {
  const DTypeInfo& info = Info(entry.dtype);
  const int64_t piece_blocks = std::max<int64_t>(1, (256 << 10) / info.block_bytes);
  std::vector<std::byte> piece(static_cast<size_t>(piece_blocks * info.block_bytes));
  const int64_t num_blocks = entry.num_bytes / info.block_bytes;
  for (int64_t block = 0; block < num_blocks; block += piece_blocks) {
    const int64_t count = std::min(piece_blocks, num_blocks - block);
    const auto bytes = std::span(piece).first(static_cast<size_t>(count * info.block_bytes));
    INGOT_RETURN_IF_ERROR(file.file().ReadAndDrop(
        entry.offset + static_cast<uint64_t>(block * info.block_bytes), bytes));
    DequantizeRow(entry.dtype, bytes.data(), out.data() + block * info.block_elements,
                  count * info.block_elements);
  }
  if (entry.scale != 1.0f) {
    for (float& value : out) value *= entry.scale;
  }
  return {};
}

Status CancelledBy(std::stop_token stop) {
  return stop.stop_requested() ? Cancelled("cancelled by the caller") : Status();
}

}  // namespace

Result<Execution> Execution::Load(const Program& program, Device& device, std::stop_token stop) {
  Execution execution(program, device);
  INGOT_ASSIGN_OR_RETURN(execution.activations_, device.Allocate(program.arena_bytes()));
  INGOT_ASSIGN_OR_RETURN(execution.weights_, device.Allocate(program.weight_bytes()));
  execution.PlaceViews();
  INGOT_RETURN_IF_ERROR(execution.LoadWeights(stop));
  execution.PrepareCalls();
  return execution;
}

void Execution::PlaceViews() {
  const std::vector<Node>& nodes = program_->graph().nodes();
  views_.resize(nodes.size());
  scales_.assign(nodes.size(), 1.0f);
  for (const Program::BoundWeight& weight : program_->weights()) {
    for (int32_t node : weight.nodes) {
      views_[static_cast<size_t>(node)] = {weight.dtype, weight.entry->shape,
                                           weights_->bytes().data() + weight.offset};
      // A scale that ReadAsF32 has already applied is gone.
      if (weight.dtype == weight.entry->dtype && weight.dtype != DType::kF32) {
        scales_[static_cast<size_t>(node)] = weight.entry->scale;
      }
    }
  }
  for (size_t i = 0; i < nodes.size(); ++i) {
    if (views_[i].data != nullptr) continue;
    const auto root = static_cast<size_t>(program_->Root(static_cast<int32_t>(i)));
    const int64_t offset = program_->activation_offset(static_cast<int32_t>(i));
    std::byte* data = offset < 0 ? views_[root].data : activations_->bytes().data() + offset;
    views_[i] = {offset < 0 ? views_[root].dtype : nodes[i].dtype, nodes[i].shape, data};
    scales_[i] = scales_[root];
  }
}

Status Execution::LoadWeights(std::stop_token stop) {
  const TensorFile& file = *program_->tensors().file;
  // In file order: reading ahead works, and a disk's head moves once.
  std::vector<const Program::BoundWeight*> by_offset;
  for (const auto& weight : program_->weights()) by_offset.push_back(&weight);
  std::sort(by_offset.begin(), by_offset.end(),
            [](const auto* a, const auto* b) { return a->entry->offset < b->entry->offset; });
  for (const Program::BoundWeight* weight : by_offset) {
    INGOT_RETURN_IF_ERROR(CancelledBy(stop));
    const TensorView& view = views_[static_cast<size_t>(weight->nodes.front())];
    const bool as_is = weight->dtype == weight->entry->dtype &&
                       (weight->dtype != DType::kF32 || weight->entry->scale == 1.0f);
    const auto num_bytes = static_cast<size_t>(view.num_bytes());
    INGOT_RETURN_IF_ERROR(as_is ? file.ReadTensor(*weight->entry, {view.data, num_bytes})
                                : ReadAsF32(file, *weight->entry, view.As<float>()));
  }
  return {};
}

void Execution::PrepareCalls() {
  const std::vector<Node>& nodes = program_->graph().nodes();
  size_t num_operands = 0;
  for (const Node& node : nodes) num_operands += node.inputs.size();
  operands_.reserve(num_operands);
  const std::span workspace =
      activations_->bytes().subspan(static_cast<size_t>(program_->workspace_offset()),
                                    static_cast<size_t>(program_->workspace_bytes()));
  for (size_t i = 0; i < nodes.size(); ++i) {
    const Node& node = nodes[i];
    if (node.inputs.empty() || std::holds_alternative<op::Reshape>(node.op)) continue;
    const size_t first = operands_.size();
    for (Value input : node.inputs) {
      ConstTensorView operand = views_[static_cast<size_t>(input.id)];
      operand.scale = scales_[static_cast<size_t>(input.id)];
      operands_.push_back(operand);
    }
    calls_.push_back({&node.op, std::span(operands_).subspan(first), views_[i], workspace});
  }
}

TensorView Execution::Input(std::string_view name) {
  const Value value = program_->graph().FindInput(name);
  INGOT_CHECK(value.id >= 0);
  return views_[static_cast<size_t>(value.id)];
}

ConstTensorView Execution::Output(std::string_view name) const {
  for (const Graph::Output& output : program_->graph().outputs()) {
    if (output.name == name) return views_[static_cast<size_t>(output.value.id)];
  }
  INGOT_CHECK(false);
}

Status Execution::Run(std::stop_token stop) {
  for (const OpCall& call : calls_) {
    INGOT_RETURN_IF_ERROR(CancelledBy(stop));
    INGOT_RETURN_IF_ERROR(device_->Run(call, stop));
  }
  return {};
}

bool AllFinite(std::span<const float> values) {
  // A sum of x * 0 is 0 for finite values and NaN otherwise: no branch per value.
  float sum = 0.0f;
  for (float value : values) sum += value * 0.0f;
  return sum == 0.0f;
}

}  // namespace ingot
