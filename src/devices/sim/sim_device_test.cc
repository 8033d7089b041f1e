#include "devices/sim/sim_device.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>

#include "devices/fake_device.h"

namespace ingot {
namespace {

// Stands still but for Advance.
class ManualClock final : public sim::Clock {
 public:
  double Now() override {
    const std::scoped_lock lock(mutex_);
    return now_s_;
  }
  void SleepUntil(double time_s, std::stop_token stop) override {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, stop, [&] { return now_s_ >= time_s; });
  }
  void AdvanceTo(double time_s) {
    const std::scoped_lock lock(mutex_);
    now_s_ = time_s;
    changed_.notify_all();
  }

 private:
  std::mutex mutex_;
  std::condition_variable_any changed_;
  double now_s_ = 0;
};

// 1000 bytes of memory behind a link of 100 bytes/s; a copy begins 1 s after its call.
class SimDeviceTest : public testing::Test {
 protected:
  std::unique_ptr<SimDevice> MakeSim(const SimFaults& faults = {}) {
    return std::make_unique<SimDevice>(compute_, SimOptions{.vram_bytes = 1000,
                                                            .link_bytes_per_s = 100,
                                                            .copy_latency_s = 1,
                                                            .faults = faults,
                                                            .clock = &clock_});
  }
  // Whether the copy has arrived; any fault is one of the test.
  static bool Arrived(SimDevice& sim, Event event) {
    std::stop_source stopped;
    stopped.request_stop();
    const Status status = sim.Wait(event, stopped.get_token());
    EXPECT_TRUE(status.ok() || status.code() == StatusCode::kCancelled) << status.message();
    return status.ok();
  }

  ManualClock clock_;
  FakeDevice compute_{{}};
};

void ExpectUnavailable(const Status& status, std::initializer_list<const char*> parts) {
  EXPECT_EQ(status.code(), StatusCode::kUnavailable);
  for (const char* part : parts) {
    EXPECT_NE(status.message().find(part), std::string::npos) << status.message();
  }
}

TEST_F(SimDeviceTest, CapIsHardAndNamedWithTheNeed) {
  const auto sim = MakeSim();
  const auto first = sim->Allocate(600);
  ASSERT_TRUE(first.ok());
  EXPECT_EQ(sim->UsedBytes(), 600);
  ExpectUnavailable(sim->Allocate(401).status(), {"at most 1000", "600 in use", "401 more"});
  EXPECT_TRUE(sim->Allocate(400).ok());
}

TEST_F(SimDeviceTest, FreedMemoryCanBeHadAgain) {
  const auto sim = MakeSim();
  for (int round = 0; round < 3; ++round) EXPECT_TRUE(sim->Allocate(1000).ok());
  EXPECT_EQ(sim->UsedBytes(), 0);
}

TEST_F(SimDeviceTest, PinnedMemoryIsTheHosts) {
  const auto sim = MakeSim();
  EXPECT_TRUE(sim->AllocatePinned(5000).ok());
  EXPECT_EQ(sim->UsedBytes(), 0);
}

class SimCopyTest : public SimDeviceTest {
 protected:
  void Open(const SimFaults& faults) {
    sim_ = MakeSim(faults);
    host_ = *sim_->AllocatePinned(300);
    vram_ = *sim_->Allocate(300);
    std::ranges::fill(host_->bytes(), std::byte{7});
  }
  Event Upload(size_t begin, size_t num_bytes) {
    return *sim_->Upload(host_->bytes().subspan(begin, num_bytes),
                         vram_->bytes().subspan(begin, num_bytes));
  }

  std::unique_ptr<SimDevice> sim_;
  std::unique_ptr<Arena> host_, vram_;
};

TEST_F(SimCopyTest, CopyTakesLatencyAndBytesOverRate) {
  Open({});
  const Event event = Upload(0, 200);
  EXPECT_FALSE(Arrived(*sim_, event));
  clock_.AdvanceTo(2.999);
  EXPECT_FALSE(Arrived(*sim_, event));
  EXPECT_EQ(vram_->bytes()[0], std::byte{0});  // who does not wait reads what was there
  clock_.AdvanceTo(3);
  EXPECT_TRUE(sim_->Wait(event, {}).ok());
  EXPECT_EQ(vram_->bytes()[199], std::byte{7});
  EXPECT_EQ(vram_->bytes()[200], std::byte{0});
}

TEST_F(SimCopyTest, CopiesOfOneDirectionFollowEachOther) {
  Open({});
  const Event first = Upload(0, 100), second = Upload(100, 100);
  clock_.AdvanceTo(3.5);
  EXPECT_TRUE(sim_->Wait(first, {}).ok());
  EXPECT_FALSE(Arrived(*sim_, second));
  clock_.AdvanceTo(4);
  EXPECT_TRUE(sim_->Wait(second, {}).ok());
  EXPECT_TRUE(Arrived(*sim_, first));
}

TEST_F(SimCopyTest, WaitingForALaterCopyWaitsForTheEarlierOnes) {
  Open({});
  const Event first = Upload(0, 100), second = Upload(100, 100);
  clock_.AdvanceTo(4);
  EXPECT_TRUE(sim_->Wait(second, {}).ok());
  EXPECT_TRUE(Arrived(*sim_, first));
}

TEST_F(SimCopyTest, IdleLinkBeginsAtTheCall) {
  Open({});
  clock_.AdvanceTo(10);
  const Event event = Upload(0, 100);
  clock_.AdvanceTo(11.9);
  EXPECT_FALSE(Arrived(*sim_, event));
  clock_.AdvanceTo(12);
  EXPECT_TRUE(sim_->Wait(event, {}).ok());
}

TEST_F(SimCopyTest, DirectionsRunSideBySide) {
  Open({});
  const Event up = Upload(0, 100);
  const Result<Event> down = sim_->Download(vram_->bytes().last(100), host_->bytes().last(100));
  clock_.AdvanceTo(2);
  EXPECT_TRUE(sim_->Wait(up, {}).ok());
  EXPECT_TRUE(sim_->Wait(*down, {}).ok());
  EXPECT_EQ(host_->bytes()[299], std::byte{0});
}

TEST_F(SimCopyTest, WaitStopsWhenAskedAndTheCopyGoesOn) {
  Open({});
  const Event event = Upload(0, 100);
  std::stop_source stop;
  std::thread asker([&] { stop.request_stop(); });
  EXPECT_EQ(sim_->Wait(event, stop.get_token()).code(), StatusCode::kCancelled);
  asker.join();
  clock_.AdvanceTo(2);
  EXPECT_TRUE(sim_->Wait(event, {}).ok());
}

TEST_F(SimDeviceTest, CopyOfManyPiecesArrivesWholeAndInTime) {
  constexpr int64_t kBytes = (5 << 20) + 3;
  SimDevice sim(
      compute_,
      {.vram_bytes = kBytes, .link_bytes_per_s = 1 << 20, .copy_latency_s = 0, .clock = &clock_});
  const std::unique_ptr<Arena> host = *sim.AllocatePinned(kBytes), vram = *sim.Allocate(kBytes);
  for (size_t i = 0; i < host->bytes().size(); ++i) {
    host->bytes()[i] = static_cast<std::byte>(i * 2654435761u >> 16);
  }
  const Event event = *sim.Upload(host->bytes(), vram->bytes());
  clock_.AdvanceTo(5);
  EXPECT_FALSE(Arrived(sim, event));
  clock_.AdvanceTo(5.00001);
  EXPECT_TRUE(sim.Wait(event, {}).ok());
  EXPECT_TRUE(std::ranges::equal(host->bytes(), vram->bytes()));
}

TEST_F(SimCopyTest, EventOfNoCopyHasPassed) {
  Open({});
  EXPECT_TRUE(sim_->Wait({}, {}).ok());
}

TEST_F(SimCopyTest, DeviceWithCopiesUnderWayCanGo) {
  Open({});
  Upload(0, 100);
  Upload(100, 100);  // and no time passes
}

TEST_F(SimCopyTest, FailedCopyAndAllBehindItEndWithItsName) {
  Open({.fail_copy = 2});
  const Event first = Upload(0, 100), second = Upload(100, 100), third = Upload(200, 100);
  clock_.AdvanceTo(100);
  EXPECT_TRUE(sim_->Wait(first, {}).ok());
  for (const Event& event : {second, third}) {
    ExpectUnavailable(sim_->Wait(event, {}), {"copy 2 of 100 bytes (upload)", "link error"});
  }
  EXPECT_TRUE(Arrived(*sim_, first));
  EXPECT_EQ(vram_->bytes()[100], std::byte{0});
}

TEST_F(SimDeviceTest, RefusedAllocationIsNamedAndTheNextSucceeds) {
  const auto sim = MakeSim({.refuse_allocation = 2});
  EXPECT_TRUE(sim->Allocate(10).ok());
  ExpectUnavailable(sim->Allocate(20).status(), {"allocation 2 of 20 bytes", "refused"});
  EXPECT_TRUE(sim->Allocate(20).ok());
}

// y = silu(x) on views of `arena`.
Status RunSilu(SimDevice& sim, const Arena& arena) {
  const op::Op silu = op::Unary{.kind = op::UnaryKind::kSilu};
  const std::array<ConstTensorView, 1> inputs = {
      {{.dtype = DType::kF32, .shape = {4}, .data = arena.bytes().data()}}};
  const TensorView output = {DType::kF32, {4}, arena.bytes().data() + 64};
  return sim.Run({.op = &silu, .inputs = inputs, .output = output, .workspace = {}}, {});
}

TEST_F(SimCopyTest, OpsRunOnTheWrappedDevice) {
  Open({});
  EXPECT_TRUE(RunSilu(*sim_, *vram_).ok());
  EXPECT_EQ(compute_.num_ops(), 1);
}

TEST_F(SimCopyTest, LostDeviceFailsEverythingByName) {
  Open({.lose_device_at_op = 2});
  const Event event = Upload(0, 100);
  EXPECT_TRUE(RunSilu(*sim_, *vram_).ok());
  const auto lost = {"lost at op 2"};
  ExpectUnavailable(RunSilu(*sim_, *vram_), lost);
  ExpectUnavailable(RunSilu(*sim_, *vram_), lost);
  ExpectUnavailable(sim_->Wait(event, {}), lost);
  ExpectUnavailable(sim_->Allocate(1).status(), lost);
  ExpectUnavailable(sim_->Upload(host_->bytes(), vram_->bytes()).status(), lost);
  EXPECT_EQ(compute_.num_ops(), 1);
}

TEST_F(SimCopyTest, WhoWaitsWhenTheDeviceIsLostIsWoken) {
  Open({.lose_device_at_op = 1});
  const Event event = Upload(0, 100);
  Status waited;
  std::thread waiter([&] { waited = sim_->Wait(event, {}); });
  EXPECT_FALSE(RunSilu(*sim_, *vram_).ok());
  waiter.join();
  ExpectUnavailable(waited, {"lost at op 1"});
}

class SimCopyDeathTest : public SimCopyTest {
 protected:
  void SetUp() override { GTEST_FLAG_SET(death_test_style, "threadsafe"); }
};

TEST_F(SimCopyDeathTest, OperandsOutsideTheDevicesMemoryAreABug) {
  Open({});
  EXPECT_DEATH(static_cast<void>(RunSilu(*sim_, *host_)), "vram_.Hold");
}

TEST_F(SimCopyDeathTest, CopyFromMemoryThatIsNotPinnedIsABug) {
  Open({});
  std::array<std::byte, 4> plain = {};
  EXPECT_DEATH(static_cast<void>(sim_->Upload(plain, vram_->bytes().first(4))), "pinned_.Hold");
}

TEST(SteadyClock, SleepEndsAtItsTimeOrWhenStopped) {
  sim::Clock& clock = sim::SteadyClock();
  const double until_s = clock.Now() + 0.01;
  clock.SleepUntil(until_s, {});
  EXPECT_GE(clock.Now(), until_s);
  std::stop_source stop;
  stop.request_stop();
  clock.SleepUntil(clock.Now() + 1e6, stop.get_token());
}

}  // namespace
}  // namespace ingot
