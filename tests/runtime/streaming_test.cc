// Runs whose weights stream are the runs whose weights stay, bit for bit, and allocate nothing.
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <new>

#include "network.h"

namespace {
std::atomic<int64_t> num_allocations = 0;
}  // namespace

// Not inlined: gcc 12 would see malloc paired with delete, and warn.
[[gnu::noinline]] void* operator new(size_t size) {
  ++num_allocations;
  void* memory = std::malloc(size);
  if (memory == nullptr) throw std::bad_alloc();
  return memory;
}
[[gnu::noinline]] void operator delete(void* memory) noexcept { std::free(memory); }
[[gnu::noinline]] void operator delete(void* memory, size_t) noexcept { std::free(memory); }

namespace ingot {
namespace {

using Outputs = std::vector<std::vector<float>>;  // of some runs

struct Streamed {
  Outputs outputs;
  int64_t streamed_bytes = 0;
};

Streamed RunTimes(const Program& program, Device& device, int num_runs) {
  auto execution = Execution::Start(program, device);
  EXPECT_TRUE(execution.ok());
  Streamed streamed;
  for (int run = 0; run < num_runs; ++run) {
    const Status status = RunLayers(**execution, run, {}, streamed.outputs.emplace_back());
    EXPECT_TRUE(status.ok()) << status.message();
  }
  streamed.streamed_bytes = (*execution)->streamed_bytes();
  return streamed;
}

TEST(Streaming, EveryRingGivesTheBytesOfTheResidentRun) {
  const Graph graph = Layers(6);
  const WeightsFile file(graph);
  WatchedDevice device(WatchedDevice::Kernels::kFast);
  Program program = Compile(graph, file, device);
  const Outputs resident = RunTimes(program, device, 3).outputs;
  EXPECT_NE(resident[0], resident[1]);
  const int64_t least = LeastBytes(program.weight_uses());
  const int64_t all = AllResidentBytes(program.weight_uses());
  ASSERT_LT(3 * least, all);
  for (int64_t num_runs : {1, 3}) {
    for (int64_t bytes = least; bytes <= all; bytes += 4 * kPageBytes) {
      ASSERT_TRUE(program.PlaceWeights({.num_bytes = bytes, .num_runs = num_runs}).ok());
      EXPECT_LE(program.transfers().num_bytes(), bytes);
      ASSERT_EQ(RunTimes(program, device, 3).outputs, resident) << bytes << " bytes";
    }
  }
}

TEST(Streaming, ThePlanCountsTheBytesThatAreRead) {
  const Graph graph = Layers(6);
  const WeightsFile file(graph);
  WatchedDevice device;
  Program program = Compile(graph, file, device);
  const int64_t rows = 3 * 12 * (256 / 32 * 34);  // of the table, in three runs
  for (int64_t bytes : {LeastBytes(program.weight_uses()), 2 * LeastBytes(program.weight_uses()),
                        AllResidentBytes(program.weight_uses())}) {
    ASSERT_TRUE(program.PlaceWeights({.num_bytes = bytes, .num_runs = 3}).ok());
    const PhasePlan plan = program.Plan("test");
    EXPECT_LE(plan.resident_bytes + plan.ring_bytes, bytes);
    const Streamed streamed = RunTimes(program, device, 3);
    EXPECT_LE(streamed.streamed_bytes, plan.streamed_bytes + rows);
    EXPECT_GT(streamed.streamed_bytes, plan.streamed_bytes);
  }
  EXPECT_EQ(program.Plan("test").num_loads, 0);
}

TEST(Streaming, CountersSayWhatWasDoneAtEachOp) {
  const Graph graph = Layers(6);
  const WeightsFile file(graph);
  WatchedDevice device(WatchedDevice::Kernels::kFast);
  Program program = Compile(graph, file, device);
  ASSERT_TRUE(
      program.PlaceWeights({.num_bytes = LeastBytes(program.weight_uses()), .num_runs = 2}).ok());
  RunCounters counters;
  auto execution = Execution::Start(program, device, {}, {.counters = &counters});
  ASSERT_TRUE(execution.ok());
  int64_t seen_bytes = 0, num_ops = 0;
  device.before_op = [&] {
    EXPECT_EQ(counters.num_ops, num_ops++);
    EXPECT_GE(counters.streamed_bytes, seen_bytes);
    seen_bytes = counters.streamed_bytes;
  };
  std::vector<float> y(12 * 256);
  for (int run = 0; run < 2; ++run) ASSERT_TRUE(RunLayers(**execution, run, {}, y).ok());
  EXPECT_EQ(counters.num_ops, num_ops);
  EXPECT_GT(seen_bytes, 0);
  EXPECT_LE(counters.streamed_bytes, (*execution)->streamed_bytes());
  EXPECT_GE(counters.streamed_bytes, program.Plan("test").streamed_bytes);
  EXPECT_EQ(counters.stalled_s, (*execution)->stalled_s());
}

TEST(Streaming, NothingIsAllocatedBetweenTheFirstOpAndTheLast) {
  const Graph graph = Layers(6);
  const WeightsFile file(graph);
  WatchedDevice device(WatchedDevice::Kernels::kFast);
  Program program = Compile(graph, file, device);
  ASSERT_TRUE(
      program.PlaceWeights({.num_bytes = LeastBytes(program.weight_uses()), .num_runs = 2}).ok());
  auto execution = Execution::Start(program, device);
  ASSERT_TRUE(execution.ok());
  int64_t first = -1, last = -1;
  device.before_op = [&] {
    last = num_allocations;
    if (first < 0) first = last;
  };
  std::vector<float> y(12 * 256);
  for (int run = 0; run < 2; ++run) {
    ASSERT_TRUE(RunLayers(**execution, run, {}, y).ok());
  }
  EXPECT_GT(first, 0);
  EXPECT_EQ(last, first);
}

TEST(Streaming, ATableIsReadByRowsAndAnIdBehindItIsNamed) {
  const Graph graph = Layers(1);
  const WeightsFile file(graph);
  WatchedDevice device;
  const Program program = Compile(graph, file, device);
  ASSERT_EQ(program.gathers().size(), 1u);
  for (const Program::BoundWeight& weight : program.weights()) {
    EXPECT_NE(weight.entry->name, "table.weight");
  }
  auto execution = Execution::Start(program, device);
  const auto ids = (*execution)->Input("ids").As<int32_t>();
  std::ranges::fill(ids, 0);
  ids[3] = 512;
  const Status status = (*execution)->Run({});
  EXPECT_EQ(status.code(), StatusCode::kInvalidArgument);
  EXPECT_NE(status.message().find("found 512"), std::string::npos) << status.message();
}

}  // namespace
}  // namespace ingot
