#include "runtime/program.h"

#include <algorithm>
#include <map>

#include "base/sha256.h"
#include "devices/copy_engine.h"
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
                                 const Options& options) {
  Program program(std::move(graph), std::move(tensors), options);
  program.schedule_ = ChunkTokens(program.graph_, options.chunk_rows);
  program.storage_ = AssignStorage(program.graph_, device, program.schedule_);
  program.FindStrips(device);
  program.schedule_.KeepNodes(program.storage_.steps);
  for (const ingot::Step& step : program.schedule_.steps) {
    program.AddWindows(program.steps_.emplace_back(Step{step}));
  }
  INGOT_RETURN_IF_ERROR(program.BindWeights());
  program.ChooseDTypes(device);
  program.FindGathers();
  program.FindWeightUses();
  INGOT_RETURN_IF_ERROR(program.CheckSupport(device));
  program.LayOutActivations();
  if (device.copy_engine() != nullptr) program.LayOutHost();
  INGOT_RETURN_IF_ERROR(
      program.PlaceWeights({.num_bytes = AllResidentBytes(program.weight_uses_), .num_runs = 2}));
  return program;
}

// Statistics of a spilled picture are no step of their own: they are taken while it is made.
void Program::FindStrips(const Device& device) {
  pictures_ = FindSpilledPictures(graph_, storage_, device, options_.strips);
  std::erase_if(storage_.steps, [&](int32_t step) {
    const Node& node = graph_.nodes()[static_cast<size_t>(step)];
    if (!std::holds_alternative<op::GroupNormStats>(node.op)) return false;
    const int32_t picture = node.inputs[0].id;
    if (!pictures_.Has(place(picture).root)) return false;
    return stats_of_.emplace(picture, step).second;
  });
}

void Program::AddWindows(Step& step) {
  const Node& node = graph_.nodes()[static_cast<size_t>(step.node)];
  const auto* conv = std::get_if<op::Conv2d>(&node.op);
  if (conv == nullptr) return;
  const int64_t strip = std::min(options_.strips.strip_rows, node.shape[1]);
  const auto add = [&](int input_idx, int32_t value, int64_t num_rows) {
    const int32_t root = place(value).root;
    if (!pictures_.Has(root)) return;
    const Node& picture = graph_.nodes()[static_cast<size_t>(value)];
    step.windows.push_back({.input_idx = input_idx,
                            .spill_offset = pictures_.spill_offsets[static_cast<size_t>(root)],
                            .row_bytes = NumBytes(picture.dtype, picture.shape) / picture.shape[1],
                            .num_rows = num_rows});
  };
  const op::Conv2dOperands at = op::OperandsOf(*conv);
  const Shape& x = graph_.shape(node.inputs[0]);
  const int64_t kernel_rows = graph_.shape(node.inputs[static_cast<size_t>(at.weight)])[2];
  int64_t most_rows = 0;
  for (int64_t row = 0; row < node.shape[1]; row += strip) {
    const RowRange window =
        WindowOf(*conv, kernel_rows, x[1], {row, std::min(row + strip, node.shape[1])});
    most_rows = std::max(most_rows, window.end - window.begin);
  }
  add(0, node.inputs[0].id, most_rows);
  if (at.residual >= 0) {
    add(at.residual, node.inputs[static_cast<size_t>(at.residual)].id, strip);
  }
  add(-1, step.node, strip);
  if (const auto stats = stats_of_.find(step.node); stats != stats_of_.end()) {
    step.stats = stats->second;
  }
}

Result<const TensorEntry*> Program::FindTensor(const Node& node) {
  const auto& weight = std::get<op::Weight>(node.op);
  Shape expected = node.shape;
  if (weight.checkpoint_rows > 0) expected[0] = weight.checkpoint_rows;
  const TensorEntry* const found = tensors_.Find(weight.name);
  if (found == nullptr) {
    return Corruption("{}: expected tensor '{}' of shape {}, found none", tensors_.path(),
                      weight.name, expected.ToString());
  }
  const TensorEntry& tensor = *found;
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
               .last_step = -1,
               .held_bytes = WeightStream::HeldBytes(entry, weight.dtype)};
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

void Program::FindOperands(const Step& step, Operands& operands) const {
  const Node& node = graph_.nodes()[static_cast<size_t>(step.node)];
  auto& [shapes, dtypes, signature] = operands;
  shapes.clear();
  dtypes.clear();
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
  signature = {&node.op, shapes, dtypes, output, node.dtype};
}

void Program::FindStatsOperands(const Step& step, Operands& operands) const {
  const Node& stats = graph_.nodes()[static_cast<size_t>(step.stats)];
  operands.shapes = {graph_.shape(stats.inputs[0])};
  operands.dtypes = {dtype(stats.inputs[0].id)};
  operands.signature = {&stats.op, operands.shapes, operands.dtypes, stats.shape, stats.dtype};
}

Status Program::CheckSupport(const Device& device) {
  Operands operands;
  for (Step& step : steps_) {
    FindOperands(step, operands);
    INGOT_RETURN_IF_ERROR(device.Supports(operands.signature));
    step.workspace_bytes = device.WorkspaceBytes(operands.signature);
    if (step.stats < 0) continue;
    FindStatsOperands(step, operands);
    INGOT_RETURN_IF_ERROR(device.Supports(operands.signature));
    step.stats_workspace_bytes = device.WorkspaceBytes(operands.signature);
  }
  return {};
}

void Program::LayOutActivations() {
  const std::vector<Node>& nodes = graph_.nodes();
  const int end = static_cast<int>(steps_.size());
  std::vector<int32_t> roots;
  for (const ValuePlace& place : storage_.places) roots.push_back(place.root);
  std::vector<BufferLifetime> lifetimes = FindLifetimes(graph_, schedule_, roots);
  for (size_t i = 0; i < nodes.size(); ++i) {
    if (pictures_.Has(static_cast<int32_t>(i))) lifetimes[i].num_bytes = 0;
  }
  for (int i = 0; i < end; ++i) {
    const int32_t stats = steps_[static_cast<size_t>(i)].stats;
    if (stats >= 0) lifetimes[static_cast<size_t>(place(stats).root)].first_step = i;
  }
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
    take(step.stats_workspace_offset, step.stats_workspace_bytes, i);
    for (Window& window : step.windows) {
      // A page more, so that a window can begin at one.
      const int64_t num_bytes = window.num_rows * window.row_bytes + kPageBytes;
      for (int64_t& offset : window.offsets) take(offset, num_bytes, i);
    }
    if (step.gather < 0) continue;
    Gather& gather = gathers_[static_cast<size_t>(step.gather)];
    take(gather.rows_offset, gather.rows_bytes(), i);
    take(gather.ids_offset, gather.ids_bytes(), i);
    take(gather.pages_offset, gather.pages_bytes(), i);
  }

  for (size_t i = 0; i < steps_.size(); ++i) {
    const auto [offset, is_first] = workspace_offsets.try_emplace(steps_[i].node, 0);
    if (is_first) take(offset->second, workspaces[steps_[i].node], schedule_.TurnOf(i));
  }

  layout_ = LayOutArena(buffers);
  for (size_t i = 0; i < buffers.size(); ++i) *offsets[i] = layout_.offsets[i];
  for (Step& step : steps_) {
    for (Window& window : step.windows) {
      for (int64_t& offset : window.offsets) offset = RoundUpToPage(offset);
    }
  }
  for (Step& step : steps_) step.workspace_offset = workspace_offsets[step.node];
}

void Program::LayOutHost() {
  host_bytes_ = WeightStream::kPinnedBytes;
  const auto take = [&](int64_t num_bytes) {
    const int64_t offset = host_bytes_;
    host_bytes_ += AlignedBytes(num_bytes);
    return offset;
  };
  const std::vector<Node>& nodes = graph_.nodes();
  host_offsets_.assign(nodes.size(), -1);
  const auto place = [&](size_t node) {
    if (host_offsets_[node] < 0) {
      host_offsets_[node] = take(NumBytes(dtypes_[node], nodes[node].shape));
    }
  };
  for (size_t i = 0; i < nodes.size(); ++i) {
    if (IsInput(nodes[i])) place(i);
  }
  for (const Graph::Output& output : graph_.outputs()) place(static_cast<size_t>(output.value.id));
  for (Gather& gather : gathers_) {
    gather.host_offset = take(gather.rows_bytes());
    take(gather.ids_bytes());
    take(gather.pages_bytes());
  }
  spill_offset_ = take(pictures_.num_bytes);
  host_bytes_ = RoundUpToPage(host_bytes_);
}

Status Program::PlaceWeights(const WeightBudget& budget) {
  Result<TransferPlan> transfers = PlanTransfers({.uses = weight_uses_,
                                                  .num_steps = static_cast<int>(steps_.size()),
                                                  .num_runs = budget.num_runs,
                                                  .num_bytes = budget.num_bytes,
                                                  .keep = budget.keep});
  if (!transfers.ok()) {
    return {transfers.status().code(),
            fmt::format("{}: {}", tensors_.path(), transfers.status().message())};
  }
  transfers_ = *std::move(transfers);
  return {};
}

int64_t Program::staging_offset() const { return RoundUpToPage(layout_.arena_bytes); }

int64_t Program::ring_offset() const {
  if (host_bytes_ > 0) return staging_offset();  // the staging is in the host block
  return RoundUpToPage(staging_offset() + WeightStream::kStagingBytes);
}

std::string Program::ResidentsKey() const {
  if (transfers_.resident_bytes == 0) return {};
  std::string layout;
  for (size_t i = 0; i < weights_.size(); ++i) {
    if (!transfers_.loads[i].resident) continue;
    const TensorEntry& entry = *weights_[i].entry;
    layout += fmt::format("{} {} {} {} {} {} {}\n", entry.offset, entry.num_bytes,
                          Name(entry.dtype), Name(weights_[i].dtype), entry.scale,
                          weights_[i].is_staged, transfers_.loads[i].offset);
  }
  return fmt::format("weights {} {}", tensors_.file->file().identity(),
                     Sha256(std::as_bytes(std::span(layout))));
}

// A strip transforms the filters anew, and is computed while others are on their way.
double Program::StepSeconds(const Step& step, const DeviceRates& rates) const {
  Operands operands;
  FindOperands(step, operands);
  OpCost cost = CostOf(operands.signature);
  if (step.windows.empty()) return Seconds(cost, rates);
  const int64_t num_rows = graph_.nodes()[static_cast<size_t>(step.node)].shape[1];
  const int64_t num_strips = (num_rows + strip_rows() - 1) / strip_rows();
  cost.num_filters *= static_cast<double>(num_strips);
  double seconds = Seconds(cost, rates), spilled_bytes = 0;
  if (step.stats >= 0) {
    FindStatsOperands(step, operands);
    seconds += Seconds(CostOf(operands.signature), rates);
  }
  for (const Window& window : step.windows) {
    const int64_t rows = window.input_idx < 0 ? num_rows : num_strips * window.num_rows;
    spilled_bytes += static_cast<double>(rows * window.row_bytes);
  }
  return std::max(seconds, spilled_bytes / rates.reads.bytes_per_s);
}

PhasePlan Program::Plan(std::string phase_name, const DeviceRates* rates) const {
  PhasePlan plan = {.name = std::move(phase_name),
                    .arena_bytes = ring_offset(),
                    .max_live_bytes = layout_.max_live_bytes +
                                      (host_bytes_ > 0 ? 0 : WeightStream::kStagingBytes),
                    .resident_bytes = transfers_.resident_bytes,
                    .ring_bytes = transfers_.ring_bytes,
                    .num_runs = transfers_.num_runs,
                    .host_bytes = host_bytes_ + transfers_.held_bytes,
                    .held_bytes = transfers_.held_bytes,
                    .scratch_bytes = scratch_bytes()};
  if (host_bytes_ > 0) plan.vram_bytes = arena_bytes() + transfers_.resident_bytes;
  for (const Step& step : steps_) {
    if (!step.is_whole()) {
      plan.num_parts =
          std::max(plan.num_parts, static_cast<int>(step.chunk_begin / options_.chunk_rows) + 1);
    }
    if (step.windows.empty()) continue;
    const int64_t rows = graph_.nodes()[static_cast<size_t>(step.node)].shape[1];
    plan.num_parts =
        std::max(plan.num_parts, static_cast<int>((rows + strip_rows() - 1) / strip_rows()));
  }
  for (size_t i = 0; i < weight_uses_.size(); ++i) {
    const TransferPlan::Load& load = transfers_.loads[i];
    const int64_t bytes = weight_uses_[i].file_bytes;
    const bool is_read_again = !load.resident && load.held_offset < 0;
    plan.streamed_bytes += bytes * (is_read_again ? plan.num_runs : 1);
    plan.run_bytes += load.resident ? 0 : bytes;
    plan.num_loads += load.resident ? 0 : 1;
  }
  if (rates == nullptr) return plan;
  std::vector<double> step_s;
  for (const Step& step : steps_) step_s.push_back(StepSeconds(step, *rates));
  const TransferTimes times =
      PredictTransfers(transfers_, weight_uses_, step_s, rates->reads, rates->copies);
  const auto allocated = static_cast<double>(arena_bytes() + transfers_.resident_bytes);
  plan.predicted_s = allocated / rates->allocated_bytes + times.seconds;
  return plan;
}

}  // namespace ingot
