#include "runtime/execution.h"

#include <algorithm>
#include <cstring>
#include <numeric>

#include "base/stopwatch.h"

namespace ingot {

Result<std::unique_ptr<Execution>> Execution::Start(const Program& program, Device& device) {
  std::unique_ptr<Execution> execution(new Execution(program, device));
  INGOT_ASSIGN_OR_RETURN(execution->arena_, device.Allocate(program.arena_bytes()));
  execution->targets_ = execution->PlaceWeights();
  execution->PlaceViews();
  execution->PrepareCalls();
  const std::span staging = execution->arena_->bytes().subspan(
      static_cast<size_t>(program.staging_offset()), WeightStream::kStagingBytes);
  execution->stream_ = std::make_unique<WeightStream>(*program.tensors().file, program.transfers(),
                                                      execution->targets_, staging);
  return execution;
}

std::vector<WeightStream::Target> Execution::PlaceWeights() {
  std::vector<WeightStream::Target> targets;
  for (size_t i = 0; i < program_->weights().size(); ++i) {
    const Program::BoundWeight& weight = program_->weights()[i];
    const int64_t offset = program_->weights_offset() + program_->transfers().loads[i].offset;
    const uint64_t in_page = weight.is_staged ? 0 : weight.entry->offset % uint64_t{kPageBytes};
    targets.push_back({.entry = weight.entry,
                       .dtype = weight.dtype,
                       .data = at(offset) + in_page,
                       .is_staged = weight.is_staged});
  }
  return targets;
}

void Execution::PlaceViews() {
  const std::vector<Node>& nodes = program_->graph().nodes();
  std::vector<std::byte*> data(nodes.size(), nullptr);  // of every root
  std::vector<float> scales(nodes.size(), 1.0f);
  for (size_t i = 0; i < targets_.size(); ++i) {
    for (int32_t node : program_->weights()[i].nodes) {
      data[static_cast<size_t>(node)] = targets_[i].data;
      // The scale of a weight in F32 has been applied to it.
      if (targets_[i].dtype != DType::kF32) {
        scales[static_cast<size_t>(node)] = targets_[i].entry->scale;
      }
    }
  }
  for (size_t i = 0; i < nodes.size(); ++i) {
    const auto node = static_cast<int32_t>(i);
    const ValuePlace& place = program_->place(node);
    const auto root = static_cast<size_t>(place.root);
    const int64_t offset = program_->activation_offset(place.root);
    if (data[root] == nullptr && offset >= 0) data[root] = at(offset);
    const DType dtype = program_->dtype(node);
    views_.push_back(
        {.dtype = dtype,
         .shape = nodes[i].shape,
         .data = place.offset == 0 ? data[root] : data[root] + NumBytes(dtype, Shape{place.offset}),
         .run_elements = place.run_elements,
         .run_stride = place.run_stride});
    scales_.push_back(scales[root]);
  }
}

ConstTensorView Execution::Operand(const Program::Step& step, size_t input_idx) const {
  const auto node = static_cast<size_t>(
      program_->graph().nodes()[static_cast<size_t>(step.node)].inputs[input_idx].id);
  ConstTensorView operand = views_[node];
  operand.scale = scales_[node];
  if (step.gather < 0) return operand;
  const Program::Gather& gather = program_->gathers()[static_cast<size_t>(step.gather)];
  if (input_idx == 0) {
    operand.data = at(gather.ids_offset);
  } else {
    operand.data = at(gather.rows_offset);
    operand.shape[0] = gather.num_rows;
    operand.scale = gather.table->scale;
  }
  return operand;
}

void Execution::PrepareCalls() {
  const std::vector<Node>& nodes = program_->graph().nodes();
  size_t num_operands = 0;
  for (const Node& node : nodes) num_operands += node.inputs.size();
  operands_.reserve(num_operands);
  for (const Program::Step& step : program_->steps()) {
    const auto node = static_cast<size_t>(step.node);
    const size_t first = operands_.size();
    for (size_t k = 0; k < nodes[node].inputs.size(); ++k) operands_.push_back(Operand(step, k));
    calls_.push_back({&nodes[node].op,
                      std::span(operands_).subspan(first),
                      views_[node],
                      {at(step.workspace_offset), static_cast<size_t>(step.workspace_bytes)}});
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
  for (size_t i = 0; i < calls_.size(); ++i) {
    const int step = static_cast<int>(i);
    if (stop.stop_requested()) return Cancelled("cancelled by the caller");
    INGOT_RETURN_IF_ERROR(stream_->Wait(step, stop));
    if (program_->steps()[i].gather >= 0) {
      INGOT_RETURN_IF_ERROR(GatherRows(program_->steps()[i], stop));
    }
    INGOT_RETURN_IF_ERROR(device_->Run(calls_[i], stop));
    stream_->Done(step);
  }
  return {};
}

// A row that was asked for before (padding) is copied.
Status Execution::GatherRows(const Program::Step& step, std::stop_token stop) {
  const Stopwatch watch;
  const Program::Gather& gather = program_->gathers()[static_cast<size_t>(step.gather)];
  const Node& node = program_->graph().nodes()[static_cast<size_t>(step.node)];
  const auto ids = ConstTensorView(views_[static_cast<size_t>(node.inputs[0].id)]).As<int32_t>();
  const auto row_bytes = static_cast<size_t>(gather.row_bytes());
  auto* new_ids = reinterpret_cast<int32_t*>(at(gather.ids_offset));
  std::iota(new_ids, new_ids + ids.size(), 0);
  void* pages = at(gather.pages_offset);
  size_t room = static_cast<size_t>(gather.pages_bytes());
  std::align(kPageBytes, room - kPageBytes, pages, room);

  for (size_t i = 0; i < ids.size(); ++i) {
    if (ids[i] < 0 || ids[i] >= gather.table->shape[0]) {
      return InvalidArgument("{}: expected an index below {}, found {}", gather.table->name,
                             gather.table->shape[0], ids[i]);
    }
    std::byte* row = at(gather.rows_offset) + i * row_bytes;
    const auto same = static_cast<size_t>(std::ranges::find(ids, ids[i]) - ids.begin());
    if (same < i) {
      std::memcpy(row, at(gather.rows_offset) + same * row_bytes, row_bytes);
      continue;
    }
    const uint64_t offset = gather.table->offset + static_cast<uint64_t>(ids[i]) * row_bytes;
    const std::span read = {static_cast<std::byte*>(pages),
                            static_cast<size_t>(PagesBytes(offset, gather.row_bytes()))};
    INGOT_RETURN_IF_ERROR(
        program_->tensors().file->file().ReadPages(offset, gather.row_bytes(), read, stop));
    std::memcpy(row, read.data() + offset % uint64_t{kPageBytes}, row_bytes);
    gathered_bytes_ += gather.row_bytes();
  }
  gather_s_ += watch.seconds();
  return {};
}

bool AllFinite(std::span<const float> values) {
  // A sum of x * 0 is 0 for finite values and NaN otherwise: no branch per value.
  float sum = 0.0f;
  for (float value : values) sum += value * 0.0f;
  return sum == 0.0f;
}

}  // namespace ingot
