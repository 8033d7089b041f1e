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

Result<Program> Program::Compile(Graph graph, ComponentTensors tensors, const Device& device,
                                 int64_t chunk_rows) {
  Program program(std::move(graph), std::move(tensors));
  program.schedule_ = ChunkTokens(program.graph_, chunk_rows);
  program.storage_ = AssignStorage(program.graph_, device, program.schedule_);
  program.schedule_.KeepNodes(program.storage_.steps);
  for (const ingot::Step& step : program.schedule_.steps) program.steps_.push_back({step});
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

Result<const TensorEntry*> Program::FindTensor(const Node& node) {
  const auto& weight = std::get<op::Weight>(node.op);
  Shape expected = node.shape;
  if (weight.checkpoint_rows > 0) expected[0] = weight.checkpoint_rows;
  const auto found = tensors_.by_name.find(weight.name);
  if (found == tensors_.by_name.end()) {
    return Corruption("{}: expected tensor '{}' of shape {}, found none", tensors_.path(),
                      weight.name, expected.ToString());
  }
  const TensorEntry& tensor = *found->second;
  if (tensor.shape != expected) {
    return Corruption("{}: tensor '{}': expected shape {}, found {}", tensors_.path(), tensor.name,
                      expected.ToString(), tensor.shape.ToString());
  }
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
    for (size_t k = 0; k < node.inputs.size(); ++k) {
      shapes.push_back(graph_.shape(node.inputs[k]));
      dtypes.push_back(dtype(node.inputs[k].id));
      if (!step.is_whole() && FindRowsRead(graph_, step.node, k).by_rows) {
        shapes.back()[1] = step.num_rows();
      }
    }
    Shape output = node.shape;
    if (!step.is_whole()) output[1] = step.num_rows();
    if (step.gather >= 0) shapes[1][0] = gathers_[static_cast<size_t>(step.gather)].num_rows;
    const OpSignature signature = {&node.op, shapes, dtypes, output, node.dtype};
    INGOT_RETURN_IF_ERROR(device.Supports(signature));
    step.workspace_bytes = device.WorkspaceBytes(signature);
  }
  return {};
}

void Program::LayOutActivations() {
  const std::vector<Node>& nodes = graph_.nodes();
  const int end = static_cast<int>(steps_.size());
  std::vector<int32_t> roots;
  for (const ValuePlace& place : storage_.places) roots.push_back(place.root);
  const std::vector<BufferLifetime> lifetimes = FindLifetimes(graph_, schedule_, roots);
  std::vector<BufferLifetime> buffers;
  std::vector<int64_t*> offsets;  // of `buffers`
  offsets_.assign(nodes.size(), -1);
  for (size_t i = 0; i < nodes.size(); ++i) {
    if (lifetimes[i].num_bytes == 0) continue;
    buffers.push_back(lifetimes[i]);
    offsets.push_back(&offsets_[i]);
  }
  const auto take = [&](int64_t& offset, int64_t num_bytes, int step) {
    if (num_bytes == 0) return;
    buffers.push_back({num_bytes, step, step});
    offsets.push_back(&offset);
  };

  std::map<int32_t, int64_t> workspaces, workspace_offsets;  // of a node, for all its steps
  for (int i = 0; i < end; ++i) {
    Step& step = steps_[static_cast<size_t>(i)];
    int64_t& workspace_bytes = workspaces[step.node];
    workspace_bytes = std::max(workspace_bytes, step.workspace_bytes);
    if (step.gather < 0) continue;
    Gather& gather = gathers_[static_cast<size_t>(step.gather)];
    take(gather.rows_offset, gather.num_rows * gather.row_bytes(), i);
    take(gather.ids_offset, gather.num_rows * Info(DType::kI32).block_bytes, i);
    take(gather.pages_offset, gather.pages_bytes(), i);
  }

  for (size_t i = 0; i < steps_.size(); ++i) {
    const auto [offset, is_first] = workspace_offsets.try_emplace(steps_[i].node, 0);
    if (is_first) take(offset->second, workspaces[steps_[i].node], schedule_.TurnOf(i));
  }

  layout_ = LayOutArena(buffers);
  for (size_t i = 0; i < buffers.size(); ++i) *offsets[i] = layout_.offsets[i];
  for (Step& step : steps_) step.workspace_offset = workspace_offsets[step.node];
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
