// Programs on a device with memory of its own: disk -> pinned ring -> VRAM, with the bits of RAM.
#include <gtest/gtest.h>

#include "devices/cpu/cpu_device.h"
#include "devices/sim/sim_device.h"
#include "network.h"

namespace ingot {
namespace {

class SimTest : public testing::Test {
 protected:
  // Two runs of the network; the status of the first that fails.
  Status RunTwice(Device& device, int64_t weight_bytes, std::vector<float>& y,
                  int64_t held_bytes = 0) {
    Program program = Compile(graph_, file_, device);
    INGOT_RETURN_IF_ERROR(program.PlaceWeights({.num_bytes = weight_bytes, .num_runs = 2}));
    if (held_bytes > 0) program.HoldInRam(held_bytes);
    plan_ = program.Plan("test");
    INGOT_ASSIGN_OR_RETURN(const auto execution, Execution::Start(program, device));
    for (int run = 0; run < 2; ++run) {
      std::vector<float> part;
      INGOT_RETURN_IF_ERROR(RunLayers(*execution, run, {}, part));
      y.insert(y.end(), part.begin(), part.end());
    }
    streamed_bytes_ = execution->streamed_bytes();
    return {};
  }
  int64_t WeightBytes(Device& device, bool all) {
    const Program program = Compile(graph_, file_, device);
    return all ? AllResidentBytes(program.weight_uses()) : LeastBytes(program.weight_uses());
  }
  // With as much memory as the plan says, in which nothing else fits.
  Status RunOnSim(const SimFaults& faults, std::vector<float>& y) {
    SimDevice planned(*cpu_, {.vram_bytes = int64_t{1} << 30});
    const int64_t least = WeightBytes(planned, false);
    Program program = Compile(graph_, file_, planned);
    INGOT_RETURN_IF_ERROR(program.PlaceWeights({.num_bytes = least, .num_runs = 2}));
    SimDevice sim(*cpu_, {.vram_bytes = program.Plan("test").vram_bytes, .faults = faults});
    return RunTwice(sim, least, y);
  }
  void ExpectUnavailable(const SimFaults& faults, const std::string& named) {
    std::vector<float> y;
    const Status status = RunOnSim(faults, y);
    EXPECT_EQ(status.code(), StatusCode::kUnavailable) << status.message();
    EXPECT_NE(status.message().find(named), std::string::npos) << status.message();
  }

  const std::unique_ptr<Device> cpu_ = *OpenCpuDevice({.num_threads = 2});
  const Graph graph_ = Layers(6);
  const WeightsFile file_{graph_};
  PhasePlan plan_;
  int64_t streamed_bytes_ = 0;
};

TEST_F(SimTest, EveryBudgetAndLinkGivesTheBytesOfRam) {
  std::vector<float> in_ram;
  ASSERT_TRUE(RunTwice(*cpu_, WeightBytes(*cpu_, true), in_ram).ok());
  for (const double bytes_per_s : {50e6, 25e9}) {
    SimDevice sim(*cpu_, {.vram_bytes = int64_t{1} << 30, .link_bytes_per_s = bytes_per_s});
    const int64_t least = WeightBytes(sim, false), all = WeightBytes(sim, true);
    for (const int64_t bytes : {least, 2 * least, (least + all) / 2, all}) {
      sim.ResetPeak();
      std::vector<float> on_sim;
      const Status status = RunTwice(sim, bytes, on_sim);
      ASSERT_TRUE(status.ok()) << status.message();
      EXPECT_EQ(on_sim, in_ram) << bytes;
      EXPECT_EQ(sim.UsedBytes(), 0);
      EXPECT_EQ(sim.PeakBytes(), plan_.vram_bytes);
    }
  }
}

TEST_F(SimTest, WhatIsHeldInRamIsReadOnce) {
  std::vector<float> in_ram;
  ASSERT_TRUE(RunTwice(*cpu_, WeightBytes(*cpu_, true), in_ram).ok());
  const int64_t once_bytes = plan_.streamed_bytes;           // of weights, as all are resident
  const int64_t table_bytes = streamed_bytes_ - once_bytes;  // of rows, in both runs
  SimDevice sim(*cpu_, {.vram_bytes = int64_t{1} << 30});
  const int64_t least = WeightBytes(sim, false), all = WeightBytes(sim, true);
  for (const int64_t held_bytes : {all / 3, 2 * all}) {
    std::vector<float> on_sim;
    const Status status = RunTwice(sim, least, on_sim, held_bytes);
    ASSERT_TRUE(status.ok()) << status.message();
    EXPECT_EQ(on_sim, in_ram);
    EXPECT_EQ(streamed_bytes_ - table_bytes, plan_.streamed_bytes);
    EXPECT_GT(plan_.held_bytes, 0);
    EXPECT_LE(plan_.held_bytes, held_bytes);
    EXPECT_EQ(plan_.streamed_bytes == once_bytes, held_bytes > all);
  }
}

TEST_F(SimTest, ThePlanIsAllThatItTakes) {
  std::vector<float> y;
  const Status status = RunOnSim({}, y);
  EXPECT_TRUE(status.ok()) << status.message();
}

TEST_F(SimTest, ARefusedAllocationIsNamed) {
  ExpectUnavailable({.refuse_allocation = 1}, "allocation 1");
}

TEST_F(SimTest, AFailedCopyIsNamedWhereverItHappens) {
  for (const int64_t copy : {1, 2, 5, 20}) {
    ExpectUnavailable({.fail_copy = copy}, fmt::format("copy {}", copy));
  }
}

TEST_F(SimTest, ALostDeviceIsNamedWithTheOp) {
  ExpectUnavailable({.lose_device_at_op = 7}, "lost at op 7");
}

}  // namespace
}  // namespace ingot
