#include "runtime/program.h"

#include <algorithm>
#include <map>

#include "runtime/weight_stream.h"

namespace ingot {
namespace {

// Below, whole pages around a weight would be a good part of it.
constexpr int64_t kLeastDirectBytes = 64 << 10;

int64_t RoundUpToPage(int64_t num_bytes) {
  return (num_bytes + kPageBytes - 1) / kPageBytes * kPageBytes;
}

bool IsWeight(const Node& node) { return std::holds_alternative<op::Weight>(node.op); }
bool IsInput(const Node& node) { return std::holds_alternative<op::Input>(node.op); }

// Whether a weight must come through the staging buffer: it is converted, small, or lies in the
// file (and so in the ring's pages) where no number of its type may.
bool IsStaged(const TensorEntry& entry, DType dtype) {
  const bool is_converted = dtype != entry.dtype || (dtype == DType::kF32 && entry.scale != 1.0f);
  const int64_t alignment = IsBlockFormat(dtype) ? 2 : Info(dtype).block_bytes;
  return is_converted || entry.num_bytes < kLeastDirectBytes ||
         entry.offset % static_cast<uint64_t>(alignment) != 0;
}

}  // namespace

Result<Program> Program::Compile(Graph graph, ComponentTensors tensors, const Device& device) {
  Program program(std::move(graph), std::move(tensors));
  program.storage_ = AssignStorage(program.graph_, device);
  for (int32_t node : program.storage_.steps) program.steps_.push_back({.node = node});
  INGOT_RETURN_IF_ERROR(program.BindWeights());
  program.ChooseDTypes(device);
  program.FindGathers();
  program.FindWeightUses();
  INGOT_RETURN_IF_ERROR(program.CheckSupport(device));
  program.LayOutActivations();
  INGOT_RETURN_IF_ERROR(
      program.PlaceWeights({.num_bytes = AllResidentBytes(program.weight_uses_), .num_runs = 2}));
  return program;
}

Result<const TensorEntry*> Program::FindTensor(const Node& weight) const {
  const std::string& name = std::get<op::Weight>(weight.op).name;
  const auto found = tensors_.by_name.find(name);
  if (found == tensors_.by_name.end()) {
    return Corruption("{}: expected tensor '{}' of shape {}, found none", tensors_.path(), name,
                      weight.shape.ToString());
  }
  if (found->second->shape != weight.shape) {
    return Corruption("{}: tensor '{}': expected shape {}, found {}", tensors_.path(),
                      found->second->name, weight.shape.ToString(),
                      found->second->shape.ToString());
  }
  return found->second;
}

Status Program::BindWeights() {
  const std::vector<Node>& nodes = graph_.nodes();
  std::map<const TensorEntry*, size_t> bound;  // -> index in weights_
  for (size_t i = 0; i < nodes.size(); ++i) {
    if (!IsWeight(nodes[i])) continue;
    INGOT_ASSIGN_OR_RETURN(const TensorEntry* entry, FindTensor(nodes[i]));
    const auto [it, is_new] = bound.emplace(entry, weights_.size());
    if (is_new) weights_.push_back({.entry = entry, .dtype = entry->dtype, .nodes = {}});
    weights_[it->second].nodes.push_back(static_cast<int32_t>(i));
  }
  return {};
}

// A user that wants plain numbers decides for all; so does a row that is no whole number of blocks
// (tensors reshaped for GGUF).
void Program::ChooseDTypes(const Device& device) {
  const std::vector<Node>& nodes = graph_.nodes();
  std::vector<BoundWeight*> weight_of(nodes.size(), nullptr);
  for (BoundWeight& weight : weights_) {
    if (weight.entry->shape.back() % Info(weight.dtype).block_elements != 0) {
      weight.dtype = DType::kF32;
    }
    for (int32_t node : weight.nodes) weight_of[static_cast<size_t>(node)] = &weight;
  }
  for (const Step& step : steps_) {
    const Node& node = nodes[static_cast<size_t>(step.node)];
    for (size_t k = 0; k < node.inputs.size(); ++k) {
      BoundWeight* weight = weight_of[static_cast<size_t>(place(node.inputs[k].id).root)];
      if (weight == nullptr) continue;
      weight->dtype = device.WeightDType(node.op, static_cast<int>(k), weight->dtype);
    }
  }
  for (size_t i = 0; i < nodes.size(); ++i) {
    const BoundWeight* weight = weight_of[static_cast<size_t>(storage_.places[i].root)];
    dtypes_.push_back(weight != nullptr ? weight->dtype : nodes[i].dtype);
  }
}

// A table that only embeddings of inputs use, in the file's type, is never loaded.
void Program::FindGathers() {
  const std::vector<Node>& nodes = graph_.nodes();
  std::map<int32_t, size_t> num_uses, num_embeddings;  // of a weight's node
  for (const Node& node : nodes) {
    for (size_t k = 0; k < node.inputs.size(); ++k) {
      ++num_uses[node.inputs[k].id];
      const bool is_embedding = std::holds_alternative<op::Embedding>(node.op) && k == 1 &&
                                IsInput(graph_.node(node.inputs[0]));
      if (is_embedding) ++num_embeddings[node.inputs[k].id];
    }
  }
  std::map<int32_t, const TensorEntry*> tables;
  std::erase_if(weights_, [&](const BoundWeight& weight) {
    const bool is_table = weight.dtype == weight.entry->dtype &&
                          !IsStaged(*weight.entry, weight.dtype) &&
                          std::ranges::all_of(weight.nodes, [&](int32_t node) {
                            return num_uses[node] > 0 && num_uses[node] == num_embeddings[node];
                          });
    if (!is_table) return false;
    for (int32_t node : weight.nodes) tables[node] = weight.entry;
    return true;
  });
  for (Step& step : steps_) {
    const Node& node = nodes[static_cast<size_t>(step.node)];
    if (!std::holds_alternative<op::Embedding>(node.op)) continue;
    const auto table = tables.find(node.inputs[1].id);
    if (table == tables.end()) continue;
    step.gather = static_cast<int32_t>(gathers_.size());
    gathers_.push_back(
        {.table = table->second, .num_rows = graph_.shape(node.inputs[0]).num_elements()});
  }
}

void Program::FindWeightUses() {
  std::vector<WeightUse*> use_of(graph_.nodes().size(), nullptr);
  std::vector<WeightUse> uses(weights_.size());
  for (size_t i = 0; i < weights_.size(); ++i) {
    BoundWeight& weight = weights_[i];
    const TensorEntry& entry = *weight.entry;
    weight.is_staged = IsStaged(entry, weight.dtype);
    uses[i] = {.num_bytes = weight.is_staged ? AlignedBytes(NumBytes(weight.dtype, entry.shape))
                                             : PagesBytes(entry.offset, entry.num_bytes),
               .alignment = weight.is_staged ? kTensorAlignment : kPageBytes,
               .file_bytes = entry.num_bytes,
               .first_step = -1,
               .last_step = -1};
    for (int32_t node : weight.nodes) use_of[static_cast<size_t>(node)] = &uses[i];
  }
  for (size_t step = 0; step < steps_.size(); ++step) {
    for (Value input : graph_.nodes()[static_cast<size_t>(steps_[step].node)].inputs) {
      WeightUse* use = use_of[static_cast<size_t>(place(input.id).root)];
      if (use == nullptr) continue;
      if (use->first_step < 0) use->first_step = static_cast<int>(step);
      use->last_step = static_cast<int>(step);
    }
  }
  std::vector<size_t> order;
  for (size_t i = 0; i < uses.size(); ++i) {
    if (uses[i].first_step >= 0) order.push_back(i);  // else nobody reads it
  }
  std::ranges::stable_sort(order, {}, [&](size_t i) { return uses[i].first_step; });
  std::vector<BoundWeight> weights;
  for (size_t i : order) {
    weights.push_back(std::move(weights_[i]));
    weight_uses_.push_back(uses[i]);
  }
  weights_ = std::move(weights);
}

Status Program::CheckSupport(const Device& device) {
  for (Step& step : steps_) {
    const Node& node = graph_.nodes()[static_cast<size_t>(step.node)];
    std::vector<Shape> shapes;
    std::vector<DType> dtypes;
    for (Value input : node.inputs) {
      shapes.push_back(graph_.shape(input));
      dtypes.push_back(dtype(input.id));
    }
    if (step.gather >= 0) shapes[1][0] = gathers_[static_cast<size_t>(step.gather)].num_rows;
    const OpSignature signature = {&node.op, shapes, dtypes, node.shape, node.dtype};
    INGOT_RETURN_IF_ERROR(device.Supports(signature));
    step.workspace_bytes = device.WorkspaceBytes(signature);
  }
  return {};
}

void Program::LayOutActivations() {
  const std::vector<Node>& nodes = graph_.nodes();
  const int end = static_cast<int>(steps_.size());
  std::vector<BufferLifetime> buffers;
  std::vector<int64_t*> offsets;  // of `buffers`
  offsets_.assign(nodes.size(), -1);
  constexpr int kNone = -1;
  std::vector<int> buffer_of(nodes.size(), kNone);
  const auto touch = [&](int32_t node, int step) {
    const auto root = static_cast<size_t>(place(node).root);
    if (IsWeight(nodes[root])) return;
    if (buffer_of[root] == kNone) {
      buffer_of[root] = static_cast<int>(buffers.size());
      buffers.push_back({NumBytes(nodes[root].dtype, nodes[root].shape), step, step});
      offsets.push_back(&offsets_[root]);
    }
    BufferLifetime& buffer = buffers[static_cast<size_t>(buffer_of[root])];
    buffer.last_step = std::max(buffer.last_step, step);
  };
  const auto take = [&](int64_t& offset, int64_t num_bytes, int step) {
    if (num_bytes == 0) return;
    buffers.push_back({num_bytes, step, step});
    offsets.push_back(&offset);
  };

  for (size_t i = 0; i < nodes.size(); ++i) {
    if (IsInput(nodes[i])) {  // keep their content from run to run
      touch(static_cast<int32_t>(i), 0);
      touch(static_cast<int32_t>(i), end);
    }
  }
  for (int i = 0; i < end; ++i) {
    Step& step = steps_[static_cast<size_t>(i)];
    touch(step.node, i);
    for (Value input : nodes[static_cast<size_t>(step.node)].inputs) touch(input.id, i);
    take(step.workspace_offset, step.workspace_bytes, i);
    if (step.gather < 0) continue;
    Gather& gather = gathers_[static_cast<size_t>(step.gather)];
    take(gather.rows_offset, gather.num_rows * gather.row_bytes(), i);
    take(gather.ids_offset, gather.num_rows * Info(DType::kI32).block_bytes, i);
    take(gather.pages_offset, gather.pages_bytes(), i);
  }
  for (const Graph::Output& output : graph_.outputs()) touch(output.value.id, end);

  layout_ = LayOutArena(buffers);
  for (size_t i = 0; i < buffers.size(); ++i) *offsets[i] = layout_.offsets[i];
}

Status Program::PlaceWeights(const WeightBudget& budget) {
  Result<TransferPlan> transfers = PlanTransfers({.uses = weight_uses_,
                                                  .num_steps = static_cast<int>(steps_.size()),
                                                  .num_runs = budget.num_runs,
                                                  .num_bytes = budget.num_bytes});
  if (!transfers.ok()) {
    return {transfers.status().code(),
            fmt::format("{}: {}", tensors_.path(), transfers.status().message())};
  }
  transfers_ = *std::move(transfers);
  return {};
}

int64_t Program::staging_offset() const { return RoundUpToPage(layout_.arena_bytes); }

int64_t Program::weights_offset() const {
  return RoundUpToPage(staging_offset() + WeightStream::kStagingBytes);
}

PhasePlan Program::Plan(std::string phase_name) const {
  PhasePlan plan = {.name = std::move(phase_name),
                    .arena_bytes = weights_offset(),
                    .max_live_bytes = layout_.max_live_bytes + WeightStream::kStagingBytes,
                    .resident_bytes = transfers_.resident_bytes,
                    .ring_bytes = transfers_.ring_bytes,
                    .num_runs = transfers_.num_runs};
  for (size_t i = 0; i < weight_uses_.size(); ++i) {
    const bool is_read_again = !transfers_.loads[i].resident;
    const int64_t bytes = weight_uses_[i].file_bytes;
    plan.streamed_bytes += bytes * (is_read_again ? plan.num_runs : 1);
    plan.run_bytes += is_read_again ? bytes : 0;
    plan.num_loads += is_read_again ? 1 : 0;
  }
  return plan;
}

}  // namespace ingot
