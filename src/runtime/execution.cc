#include "runtime/execution.h"

#include <algorithm>
#include <cstring>
#include <numeric>

#include <fmt/ranges.h>

#include "base/stopwatch.h"
#include "runtime/host_spill.h"
#include "runtime/scratch_file.h"

namespace ingot {
namespace {

// A value's rows [row_begin, row_end) of a step, from row `at` of its place on.
TensorView Rows(TensorView view, const ingot::Step& step, int64_t at) {
  view.shape[1] = step.num_rows();
  const int64_t row_elements = view.shape.num_elements() / view.shape[1];
  const int64_t stride =
      view.is_contiguous() ? row_elements : row_elements / view.run_elements * view.run_stride;
  const int64_t row_bytes = NumBytes(view.dtype, Shape{stride});
  view.data += at * row_bytes;
  return view;
}

// "[1, 256, 3072] F32, [3072, 3072] Q4_0"
std::string DescribeOperands(std::span<const ConstTensorView> operands) {
  std::string text;
  for (const ConstTensorView& operand : operands) {
    if (!text.empty()) text += ", ";
    text += fmt::format("{} {}", operand.shape.ToString(), Name(operand.dtype));
  }
  return text;
}

}  // namespace

Result<std::unique_ptr<Execution>> Execution::Start(const Program& program, Device& device,
                                                    std::stop_token stop,
                                                    const ExecutionOptions& options) {
  std::unique_ptr<Execution> execution(new Execution(program, device, options));
  if (program.scratch_bytes() > 0) {
    INGOT_ASSIGN_OR_RETURN(
        execution->spill_,
        ScratchFile::Create(options.scratch_folder, program.scratch_bytes(), device.trace()));
  }
  INGOT_ASSIGN_OR_RETURN(execution->arena_, device.Allocate(program.arena_bytes(), stop));
  INGOT_RETURN_IF_ERROR(execution->TakeResidents(stop));
  if (execution->copies_ != nullptr) {
    INGOT_ASSIGN_OR_RETURN(execution->host_,
                           execution->copies_->AllocatePinned(program.host_bytes()));
    if (const int64_t held_bytes = program.transfers().held_bytes; held_bytes > 0) {
      INGOT_ASSIGN_OR_RETURN(execution->held_, execution->copies_->AllocatePinned(held_bytes));
    }
    execution->spill_ = std::make_unique<HostSpill>(
        *execution->copies_,
        execution->host_->bytes().subspan(static_cast<size_t>(program.spill_offset()),
                                          static_cast<size_t>(program.spilled_bytes())));
  }
  execution->targets_ = execution->PlaceWeights();
  execution->PlaceViews();
  execution->PrepareCalls();
  if (device.trace() != nullptr) execution->LabelSteps();
  const std::span staging =
      execution->copies_ != nullptr
          ? execution->host_->bytes().first(WeightStream::kPinnedBytes)
          : execution->arena_->bytes().subspan(static_cast<size_t>(program.staging_offset()),
                                               WeightStream::kStagingBytes);
  execution->stream_ = std::make_unique<WeightStream>(
      *program.tensors().file, program.transfers(), execution->targets_, staging,
      execution->has_residents_, execution->copies_, device.trace());
  return execution;
}

Execution::~Execution() {
  const bool is_whole = stream_ != nullptr && stream_->has_residents();
  stream_.reset();  // ends the reader
  if (kept_ == nullptr || residents_ == nullptr || !is_whole) return;
  kept_->KeepWeights(program_->ResidentsKey(), std::move(residents_));
}

Status Execution::TakeResidents(std::stop_token stop) {
  const int64_t num_bytes = program_->transfers().resident_bytes;
  if (num_bytes == 0) return {};
  if (kept_ != nullptr) {
    // What a read would have found.
    INGOT_RETURN_IF_ERROR(program_->tensors().file->file().CheckUnchanged());
    residents_ = kept_->TakeWeights(program_->ResidentsKey());
    has_residents_ = residents_ != nullptr;
  }
  if (has_residents_) return {};
  INGOT_ASSIGN_OR_RETURN(residents_, device_->Allocate(num_bytes, stop));
  return {};
}

std::vector<WeightStream::Target> Execution::PlaceWeights() {
  std::vector<WeightStream::Target> targets;
  for (size_t i = 0; i < program_->weights().size(); ++i) {
    const Program::BoundWeight& weight = program_->weights()[i];
    const TransferPlan::Load& load = program_->transfers().loads[i];
    std::byte* block = load.resident ? residents_->bytes().data() : at(program_->ring_offset());
    const uint64_t in_page = weight.is_staged ? 0 : weight.entry->offset % uint64_t{kPageBytes};
    targets.push_back(
        {.entry = weight.entry,
         .dtype = weight.dtype,
         .data = block + load.offset + in_page,
         .is_staged = weight.is_staged,
         .held = load.held_offset < 0 ? nullptr : held_->bytes().data() + load.held_offset});
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
  const Schedule& schedule = program_->schedule();
  const RowsRead rows = FindRowsRead(program_->graph(), step.node, input_idx);
  TensorView view = views_[node];
  if (!step.is_whole() && rows.by_rows) {
    view = Rows(view, step, schedule.RowInBuffer(step, rows.root, step.row_begin));
  }
  ConstTensorView operand = view;
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
  for (const Program::Step& step : program_->steps()) {
    num_operands += nodes[static_cast<size_t>(step.node)].inputs.size();
  }
  operands_.reserve(num_operands);
  for (const Program::Step& step : program_->steps()) {
    const auto node = static_cast<size_t>(step.node);
    const size_t first = operands_.size();
    for (size_t k = 0; k < nodes[node].inputs.size(); ++k) operands_.push_back(Operand(step, k));
    TensorView output = views_[node];
    if (!step.is_whole()) {
      const int64_t at = program_->schedule().RowInBuffer(step, step.node, step.row_begin);
      output = Rows(output, step, at);
    }
    calls_.push_back({&nodes[node].op,
                      std::span(operands_).subspan(first),
                      output,
                      {at(step.workspace_offset), static_cast<size_t>(step.workspace_bytes)}});
  }
}

TensorView Execution::Input(std::string_view name) {
  const Value value = program_->graph().FindInput(name);
  INGOT_CHECK(value.id >= 0);
  return HostView(value.id);
}

TensorView Execution::HostView(int32_t node) const {
  TensorView view = views_[static_cast<size_t>(node)];
  if (host_ == nullptr) return view;
  INGOT_CHECK(view.is_contiguous());
  view.data = host_->bytes().data() + program_->host_offset(node);
  return view;
}

ConstTensorView Execution::Output(std::string_view name) const {
  for (const Graph::Output& output : program_->graph().outputs()) {
    if (output.name == name) return HostView(output.value.id);
  }
  INGOT_CHECK(false);
}

void Execution::LabelSteps() {
  trace_ = device_->trace();
  run_label_ = trace_->AddLabel({.category = "run", .name = "run"});
  gather_label_ = trace_->AddLabel({.category = "wait", .name = "rows of a table"});
  for (const OpCall& call : calls_) {
    step_labels_.push_back(trace_->AddLabel(
        {.category = "op",
         .name = std::string(op::Name(*call.op)),
         .args = {{"attributes", op::DescribeAttributes(*call.op)},
                  {"operands", DescribeOperands(call.inputs)},
                  {"output", DescribeOperands({{ConstTensorView(call.output)}})}}}));
  }
}

TraceSpan Execution::TraceStep(size_t step) {
  if (trace_ == nullptr) return {nullptr, 0};
  trace_->set_op(step_labels_[step]);
  return {trace_, step_labels_[step]};
}

Status Execution::Run(std::stop_token stop) {
  if (copies_ == nullptr) return RunSteps(stop);
  INGOT_RETURN_IF_ERROR(UploadInputs(stop));
  INGOT_RETURN_IF_ERROR(RunSteps(stop));
  return DownloadOutputs(stop);
}

// Copies of one direction are carried out in order: the last one ends them all.
Status Execution::UploadInputs(std::stop_token stop) {
  Event last;
  for (size_t i = 0; i < views_.size(); ++i) {
    const bool is_input = std::holds_alternative<op::Input>(program_->graph().nodes()[i].op);
    if (!is_input || views_[i].data == nullptr) continue;
    const ConstTensorView host = HostView(static_cast<int32_t>(i));
    const auto num_bytes = static_cast<size_t>(host.num_bytes());
    INGOT_ASSIGN_OR_RETURN(last,
                           copies_->Upload({host.data, num_bytes}, {views_[i].data, num_bytes}));
  }
  return copies_->Wait(last, stop);
}

Status Execution::DownloadOutputs(std::stop_token stop) {
  Event last;
  for (const Graph::Output& output : program_->graph().outputs()) {
    const TensorView host = HostView(output.value.id);
    const std::byte* from = views_[static_cast<size_t>(output.value.id)].data;
    const auto num_bytes = static_cast<size_t>(ConstTensorView(host).num_bytes());
    INGOT_ASSIGN_OR_RETURN(last, copies_->Download({from, num_bytes}, {host.data, num_bytes}));
  }
  return copies_->Wait(last, stop);
}

Status Execution::RunSteps(std::stop_token stop) {
  const TraceSpan run(trace_, run_label_);
  for (size_t i = 0; i < calls_.size(); ++i) {
    const int step = static_cast<int>(i);
    if (stop.stop_requested()) return Cancelled("cancelled by the caller");
    INGOT_RETURN_IF_ERROR(stream_->Wait(step, stop));
    if (program_->steps()[i].gather >= 0) {
      INGOT_RETURN_IF_ERROR(GatherRows(program_->steps()[i], stop));
    }
    const TraceSpan span = TraceStep(i);
    const bool in_strips = !program_->steps()[i].windows.empty();
    INGOT_RETURN_IF_ERROR(in_strips ? RunStrips(program_->steps()[i], calls_[i], stop)
                                    : device_->Run(calls_[i], stop));
    stream_->Done(step);
    if (counters_ != nullptr) CountOp();
  }
  return {};
}

void Execution::CountOp() {
  const int64_t bytes = streamed_bytes();  // rises meanwhile
  ++counters_->num_ops;
  counters_->streamed_bytes += bytes - counted_bytes_;
  counters_->stalled_s += stalled_s() - counted_s_;
  counted_bytes_ = bytes;
  counted_s_ = stalled_s();
}

// Reads of the next strip and the write of the one before go on while a strip is computed.
Status Execution::RunStrips(const Program::Step& step, const OpCall& whole, std::stop_token stop) {
  constexpr size_t kMaxOperands = 8, kMaxWindows = 3;
  const auto& conv = std::get<op::Conv2d>(*whole.op);
  const op::Conv2dOperands at = op::OperandsOf(conv);
  const int64_t kernel_rows = whole.inputs[static_cast<size_t>(at.weight)].shape[2];
  const int64_t num_rows = whole.output.shape[1], x_rows = whole.inputs[0].shape[1];
  const int64_t strip_rows = program_->strip_rows();
  const int64_t num_strips = (num_rows + strip_rows - 1) / strip_rows;
  INGOT_CHECK(whole.inputs.size() <= kMaxOperands && step.windows.size() <= kMaxWindows);

  const auto output_rows = [&](int64_t strip) -> RowRange {
    return {strip * strip_rows, std::min((strip + 1) * strip_rows, num_rows)};
  };
  const auto rows_of = [&](int input_idx, int64_t strip) {
    const RowRange rows = output_rows(strip);
    return input_idx == 0 ? WindowOf(conv, kernel_rows, x_rows, rows) : rows;
  };
  const auto bytes_of = [&](const Program::Window& window, int64_t strip) {
    const RowRange rows = rows_of(window.input_idx, strip);
    return std::span(this->at(window.offsets[static_cast<size_t>(strip % 2)]),
                     static_cast<size_t>((rows.end - rows.begin) * window.row_bytes));
  };
  const auto spill_offset = [&](const Program::Window& window, int64_t strip) {
    return window.spill_offset + rows_of(window.input_idx, strip).begin * window.row_bytes;
  };
  // Of the strips of either parity.
  std::array<Spill::Ticket, 2> reads = {}, writes = {};
  const auto read = [&](int64_t strip) {
    for (const Program::Window& window : step.windows) {
      if (window.input_idx < 0) continue;
      reads[static_cast<size_t>(strip % 2)] =
          spill_->Read(spill_offset(window, strip), bytes_of(window, strip));
    }
  };
  const bool has_reads = std::ranges::any_of(
      step.windows, [](const Program::Window& window) { return window.input_idx >= 0; });
  const Program::Window* written = nullptr;
  for (const Program::Window& window : step.windows) {
    if (window.input_idx < 0) written = &window;
  }

  if (has_reads) read(0);
  for (int64_t strip = 0; strip < num_strips; ++strip) {
    const auto parity = static_cast<size_t>(strip % 2);
    if (has_reads) INGOT_RETURN_IF_ERROR(spill_->Wait(reads[parity]));
    if (written != nullptr && strip >= 2) INGOT_RETURN_IF_ERROR(spill_->Wait(writes[parity]));
    if (has_reads && strip + 1 < num_strips) read(strip + 1);

    const RowRange rows = output_rows(strip);
    // The part of `view` that the strip needs: in its window, or where the picture is.
    const auto part = [&](auto view, int input_idx) {
      const RowRange range = rows_of(input_idx, strip);
      const int64_t row_elements = view.shape.num_elements() / view.shape[1];
      view.shape[1] = range.end - range.begin;
      for (const Program::Window& window : step.windows) {
        if (window.input_idx != input_idx) continue;
        view.data = bytes_of(window, strip).data();
        return view;
      }
      view.data += NumBytes(view.dtype, {range.begin * row_elements});
      return view;
    };
    std::array<ConstTensorView, kMaxOperands> inputs;
    std::ranges::copy(whole.inputs, inputs.begin());
    inputs[0] = part(inputs[0], 0);
    if (at.residual >= 0) {
      inputs[static_cast<size_t>(at.residual)] =
          part(inputs[static_cast<size_t>(at.residual)], at.residual);
    }
    const Strip place = {
        .begin = rows.begin, .window_begin = rows_of(0, strip).begin, .picture_rows = x_rows};
    OpCall call = whole;
    call.inputs = std::span(inputs).first(whole.inputs.size());
    call.output = part(whole.output, -1);
    call.strip = &place;
    INGOT_RETURN_IF_ERROR(device_->Run(call, stop));
    if (step.stats >= 0) {
      const auto stats = static_cast<size_t>(step.stats);
      const ConstTensorView picture = call.output;
      const Strip of_output = {
          .begin = rows.begin, .window_begin = rows.begin, .picture_rows = num_rows};
      INGOT_RETURN_IF_ERROR(device_->Run(
          {&program_->graph().nodes()[stats].op,
           {&picture, 1},
           views_[stats],
           {this->at(step.stats_workspace_offset), static_cast<size_t>(step.stats_workspace_bytes)},
           &of_output},
          stop));
    }
    if (written != nullptr) {
      writes[parity] = spill_->Write(spill_offset(*written, strip), bytes_of(*written, strip));
    }
  }
  // The windows are another step's next.
  return written != nullptr ? spill_->Wait(writes[static_cast<size_t>((num_strips - 1) % 2)])
                            : Status();
}

// A row that was asked for before (padding) is copied.
Status Execution::GatherRows(const Program::Step& step, std::stop_token stop) {
  const TraceSpan span(trace_, gather_label_);
  const Stopwatch watch;
  const Program::Gather& gather = program_->gathers()[static_cast<size_t>(step.gather)];
  const Node& node = program_->graph().nodes()[static_cast<size_t>(step.node)];
  const auto ids = ConstTensorView(HostView(node.inputs[0].id)).As<int32_t>();
  const auto row_bytes = static_cast<size_t>(gather.row_bytes());
  // In RAM, from where they are copied to the arena if the device has memory of its own.
  std::byte *rows = at(gather.rows_offset), *new_ids = at(gather.ids_offset);
  void* pages = at(gather.pages_offset);
  if (copies_ != nullptr) {
    rows = host_->bytes().data() + gather.host_offset;
    new_ids = rows + AlignedBytes(gather.rows_bytes());
    pages = new_ids + AlignedBytes(gather.ids_bytes());
  }
  auto* first_id = reinterpret_cast<int32_t*>(new_ids);
  std::iota(first_id, first_id + ids.size(), 0);
  size_t room = static_cast<size_t>(gather.pages_bytes());
  std::align(kPageBytes, room - kPageBytes, pages, room);

  for (size_t i = 0; i < ids.size(); ++i) {
    if (ids[i] < 0 || ids[i] >= gather.table->shape[0]) {
      return InvalidArgument("{}: expected an index below {}, found {}", gather.table->name,
                             gather.table->shape[0], ids[i]);
    }
    std::byte* row = rows + i * row_bytes;
    const auto same = static_cast<size_t>(std::ranges::find(ids, ids[i]) - ids.begin());
    if (same < i) {
      std::memcpy(row, rows + same * row_bytes, row_bytes);
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
  if (copies_ != nullptr) {
    const auto upload = [&](const std::byte* from, int64_t num_bytes, int64_t offset) {
      const auto size = static_cast<size_t>(num_bytes);
      return copies_->Upload({from, size}, {at(offset), size});
    };
    INGOT_RETURN_IF_ERROR(upload(rows, gather.rows_bytes(), gather.rows_offset).status());
    INGOT_ASSIGN_OR_RETURN(const Event last,
                           upload(new_ids, gather.ids_bytes(), gather.ids_offset));
    INGOT_RETURN_IF_ERROR(copies_->Wait(last, stop));
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
