// The simulated GPU over the CPU device: host ring -> link -> VRAM ring -> op -> link -> host.
#include "devices/sim/sim_device.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cstring>

#include "devices/cpu/cpu_device.h"
#include "harness.h"

namespace ingot::conformance {
namespace {

constexpr int64_t kTokens = 40, kWidth = 256;
constexpr int kNumLayers = 7;
constexpr size_t kNumSlots = 2;  // of both rings
constexpr int64_t kRowBytes = kTokens * kWidth * 4;

const op::Op kLinear = op::Linear{};

// x [kTokens, kWidth] through kNumLayers linears, whose weights lie in files: here in vectors.
class Chain {
 public:
  Chain() : x_(RandomOperand(DType::kF32, {kTokens, kWidth}, 1)) {
    for (uint32_t i = 0; i < kNumLayers; ++i) {
      weights_.push_back(RandomOperand(DType::kQ8_0, {kWidth, kWidth}, 2 + i));
    }
  }
  const Operand& x() const { return x_; }
  const Operand& weight(int layer) const { return weights_[static_cast<size_t>(layer)]; }
  int64_t weight_bytes() const { return static_cast<int64_t>(weights_[0].bytes.size()); }

  static Status RunLayer(Device& device, const std::byte* x, const std::byte* weight,
                         std::byte* out, std::span<std::byte> workspace) {
    const std::array<ConstTensorView, 2> inputs = {
        {{DType::kF32, {kTokens, kWidth}, x}, {DType::kQ8_0, {kWidth, kWidth}, weight}}};
    const TensorView output = {DType::kF32, {kTokens, kWidth}, out};
    return device.Run({&kLinear, inputs, output, workspace}, {});
  }

  static int64_t WorkspaceBytes(const Device& device) {
    const std::array<Shape, 2> shapes = {Shape{kTokens, kWidth}, Shape{kWidth, kWidth}};
    const std::array<DType, 2> dtypes = {DType::kF32, DType::kQ8_0};
    return device.WorkspaceBytes({&kLinear, shapes, dtypes, {kTokens, kWidth}, DType::kF32});
  }

 private:
  Operand x_;
  std::vector<Operand> weights_;
};

std::vector<std::byte> RunInRam(Device& cpu, const Chain& chain) {
  std::vector<std::byte> x = chain.x().bytes, out(x.size());
  const std::unique_ptr<Arena> workspace = *cpu.Allocate(Chain::WorkspaceBytes(cpu));
  for (int layer = 0; layer < kNumLayers; ++layer) {
    EXPECT_TRUE(Chain::RunLayer(cpu, x.data(), chain.weight(layer).bytes.data(), out.data(),
                                workspace->bytes())
                    .ok());
    std::swap(x, out);
  }
  return x;
}

// Weights pass through kNumSlots slots of pinned memory and as many of VRAM: the copy of one layer
// runs while the layer before computes.
class StreamedRun {
 public:
  StreamedRun(SimDevice& sim, const Chain& chain)
      : sim_(sim),
        chain_(chain),
        weight_bytes_(static_cast<size_t>(chain.weight_bytes())),
        pinned_(*sim.AllocatePinned(kNumSlots * chain.weight_bytes() + kRowBytes)),
        vram_(*sim.Allocate(kNumSlots * chain.weight_bytes() + 2 * kRowBytes)),
        workspace_(*sim.Allocate(Chain::WorkspaceBytes(sim))) {}

  Result<std::vector<std::byte>> Run() {
    std::ranges::copy(chain_.x().bytes, Row(*pinned_, 0).data());
    INGOT_ASSIGN_OR_RETURN(const Event x_there, sim_.Upload(Row(*pinned_, 0), Row(*vram_, 0)));
    for (int layer = 0; layer < static_cast<int>(kNumSlots); ++layer) {
      INGOT_RETURN_IF_ERROR(Prefetch(layer));
    }
    INGOT_RETURN_IF_ERROR(sim_.Wait(x_there, {}));
    for (int layer = 0; layer < kNumLayers; ++layer) {
      INGOT_RETURN_IF_ERROR(sim_.Wait(there_[Slot(layer)], {}));
      const size_t in = static_cast<size_t>(layer % 2);
      INGOT_RETURN_IF_ERROR(Chain::RunLayer(sim_, Row(*vram_, in).data(),
                                            Weight(*vram_, layer).data(),
                                            Row(*vram_, 1 - in).data(), workspace_->bytes()));
      if (layer + static_cast<int>(kNumSlots) < kNumLayers) {
        INGOT_RETURN_IF_ERROR(Prefetch(layer + static_cast<int>(kNumSlots)));
      }
    }
    INGOT_ASSIGN_OR_RETURN(const Event back,
                           sim_.Download(Row(*vram_, kNumLayers % 2), Row(*pinned_, 0)));
    INGOT_RETURN_IF_ERROR(sim_.Wait(back, {}));
    const std::span<const std::byte> out = Row(*pinned_, 0);
    return std::vector<std::byte>(out.begin(), out.end());
  }

 private:
  static size_t Slot(int layer) { return static_cast<size_t>(layer) % kNumSlots; }
  std::span<std::byte> Weight(const Arena& arena, int layer) const {
    return arena.bytes().subspan(Slot(layer) * weight_bytes_, weight_bytes_);
  }
  std::span<std::byte> Row(const Arena& arena, size_t index) const {
    return arena.bytes().subspan(kNumSlots * weight_bytes_ + index * kRowBytes, kRowBytes);
  }
  // The slot's last weight has been computed with: its copy has left the pinned slot too.
  Status Prefetch(int layer) {
    std::ranges::copy(chain_.weight(layer).bytes, Weight(*pinned_, layer).data());
    INGOT_ASSIGN_OR_RETURN(there_[Slot(layer)],
                           sim_.Upload(Weight(*pinned_, layer), Weight(*vram_, layer)));
    return {};
  }

  SimDevice& sim_;
  const Chain& chain_;
  const size_t weight_bytes_;
  std::unique_ptr<Arena> pinned_, vram_, workspace_;
  std::array<Event, kNumSlots> there_;
};

class SimOverCpu : public testing::Test {
 protected:
  // VRAM for what the run needs and no more: less than the weights alone.
  SimOptions Options(const SimFaults& faults) const {
    return {.vram_bytes = static_cast<int64_t>(kNumSlots) * chain_.weight_bytes() + 2 * kRowBytes +
                          Chain::WorkspaceBytes(*cpu_),
            .link_bytes_per_s = 200e6,
            .faults = faults};
  }
  const std::unique_ptr<Device> cpu_ = *OpenCpuDevice({.num_threads = 2, .target = {}});
  const Chain chain_;
};

TEST_F(SimOverCpu, StreamedThroughVramSmallerThanTheWeightsHasTheBitsOfTheCpu) {
  SimDevice sim(*cpu_, Options({}));
  StreamedRun run(sim, chain_);
  EXPECT_EQ(sim.UsedBytes(), sim.AvailableBytes());
  const Result<std::vector<std::byte>> out = run.Run();
  ASSERT_TRUE(out.ok()) << out.status().message();
  EXPECT_EQ(*out, RunInRam(*cpu_, chain_));
}

TEST_F(SimOverCpu, EveryCopyAndEveryOpCanFailAndEndsTheRunByName) {
  for (int64_t copy = 1; copy <= kNumLayers + 2; ++copy) {
    SimDevice sim(*cpu_, Options({.fail_copy = copy}));
    const Status status = StreamedRun(sim, chain_).Run().status();
    EXPECT_EQ(status.code(), StatusCode::kUnavailable);
    EXPECT_NE(status.message().find(fmt::format("copy {} ", copy)), std::string::npos);
  }
  for (int64_t op = 1; op <= kNumLayers; ++op) {
    SimDevice sim(*cpu_, Options({.lose_device_at_op = op}));
    const Status status = StreamedRun(sim, chain_).Run().status();
    EXPECT_EQ(status.code(), StatusCode::kUnavailable);
    EXPECT_NE(status.message().find(fmt::format("lost at op {}", op)), std::string::npos);
  }
}

}  // namespace
}  // namespace ingot::conformance
