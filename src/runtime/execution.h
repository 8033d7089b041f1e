// A program in memory: its arena, its weights on their way, and runs of its graph.
#pragma once

#include <filesystem>
#include <memory>
#include <stop_token>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "devices/device.h"
#include "runtime/kept_memory.h"
#include "runtime/program.h"
#include "runtime/run_counters.h"
#include "runtime/spill.h"
#include "runtime/weight_stream.h"

namespace ingot {

struct ExecutionOptions {
  // Where spilled pictures go of a device in RAM, if the program has some: to a file without a name
  // (ScratchFile).
  std::filesystem::path scratch_folder = {};
  // Whence the block of resident weights is taken where it is there, and where it goes in the end,
  // whole, whatever came of the runs.
  KeptMemory* kept = nullptr;
  RunCounters* counters = nullptr;  // count this execution too
};

// Takes what the program's plan says, in one arena and a block of resident weights, when it is
// made, and nothing after; gives all of it back when it goes. Program and device must outlive it.
class Execution {
 public:
  // Allocates, and starts to read the weights.
  static Result<std::unique_ptr<Execution>> Start(const Program& program, Device& device,
                                                  std::stop_token stop = {},
                                                  const ExecutionOptions& options = {});
  ~Execution();
  Execution(const Execution&) = delete;
  Execution& operator=(const Execution&) = delete;

  // In RAM, whatever the device. Written by the caller before a run; keeps its content until then.
  TensorView Input(std::string_view name);
  // Content is that of the last run.
  ConstTensorView Output(std::string_view name) const;

  // Runs the graph once, each op as soon as its weights are there. kCancelled when `stop` is
  // requested: looked at inside reads and ops. kCorruption and kUnavailable name the weights' file.
  // After an error the execution is of no more use.
  Status Run(std::stop_token stop);

  // So far, the rows of tables included.
  int64_t streamed_bytes() const { return stream_->streamed_bytes() + gathered_bytes_; }
  double stalled_s() const {
    return stream_->stalled_s() + gather_s_;
  }  // ops that waited for reads

 private:
  Execution(const Program& program, Device& device, const ExecutionOptions& options)
      : program_(&program),
        device_(&device),
        kept_(options.kept),
        counters_(options.counters),
        copies_(device.copy_engine()) {}
  Status TakeResidents(std::stop_token stop);
  std::byte* at(int64_t offset) const { return arena_->bytes().data() + offset; }
  // Of an input or output: in RAM.
  TensorView HostView(int32_t node) const;
  Status UploadInputs(std::stop_token stop);
  Status DownloadOutputs(std::stop_token stop);
  Status RunSteps(std::stop_token stop);
  void CountOp();
  void PlaceViews();
  std::vector<WeightStream::Target> PlaceWeights();
  void PrepareCalls();
  ConstTensorView Operand(const Program::Step& step, size_t input_idx) const;
  Status RunStrips(const Program::Step& step, const OpCall& whole, std::stop_token stop);
  Status GatherRows(const Program::Step& step, std::stop_token stop);
  void LabelSteps();
  TraceSpan TraceStep(size_t step);  // and the loops of its op

  const Program* program_;
  Device* device_;
  KeptMemory* kept_;
  RunCounters* counters_;
  CopyEngine* copies_;
  std::unique_ptr<Arena> arena_;
  std::unique_ptr<Arena> host_;            // Program::host_bytes; null: the device is in RAM
  std::unique_ptr<Arena> held_;            // TransferPlan::held_bytes; null: 0
  std::unique_ptr<Arena> residents_;       // null where no weight stays
  bool has_residents_ = false;             // they were kept
  std::vector<TensorView> views_;          // of every node
  std::vector<float> scales_;              // ConstTensorView::scale of every node
  std::vector<ConstTensorView> operands_;  // of all calls, one after the other
  std::vector<OpCall> calls_;              // of all steps
  int64_t gathered_bytes_ = 0;
  double gather_s_ = 0;
  int64_t counted_bytes_ = 0;  // in counters_
  double counted_s_ = 0;
  Trace* trace_ = nullptr;
  std::vector<Trace::Label> step_labels_;  // with a trace
  Trace::Label run_label_ = 0, gather_label_ = 0;
  std::unique_ptr<Spill> spill_;  // null where no picture is spilled
  std::vector<WeightStream::Target> targets_;
  std::unique_ptr<WeightStream> stream_;  // last: writes into the arena and the residents
};

// Whether every value is finite: no NaN, no infinity.
bool AllFinite(std::span<const float> values);

}  // namespace ingot
