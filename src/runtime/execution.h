// A program in memory: its arena, its weights, and runs of its graph.
#pragma once

#include <memory>
#include <stop_token>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "devices/device.h"
#include "runtime/program.h"

namespace ingot {

// Takes what the program's plan says, when it is made, and nothing after; gives
// all of it back when it goes. Program and device must outlive it.
class Execution {
 public:
  // Allocates, then reads every weight. kCancelled when `stop` is requested.
  static Result<Execution> Load(const Program& program, Device& device, std::stop_token stop);

  // Written by the caller before a run; keeps its content until then.
  TensorView Input(std::string_view name);
  // Content is that of the last run.
  ConstTensorView Output(std::string_view name) const;

  // Runs the graph once. kCancelled when `stop` is requested: looked at between ops.
  Status Run(std::stop_token stop);

 private:
  Execution(const Program& program, Device& device) : program_(&program), device_(&device) {}
  Status LoadWeights(std::stop_token stop);
  void PlaceViews();
  void PrepareCalls();

  const Program* program_;
  Device* device_;
  std::unique_ptr<Arena> activations_;
  std::unique_ptr<Arena> weights_;
  std::vector<TensorView> views_;          // of every node
  std::vector<float> scales_;              // ConstTensorView::scale of every node
  std::vector<ConstTensorView> operands_;  // of all calls, one after the other
  std::vector<OpCall> calls_;
};

// Whether every value is finite: no NaN, no infinity.
bool AllFinite(std::span<const float> values);

}  // namespace ingot
