// What one process keeps between jobs: no weight is read twice, no plan and no pixel depends on it,
// and no budget is passed.
#include <gtest/gtest.h>

#include <fstream>

#include "base/byte_size.h"
#include "base/system_memory.h"
#include "engine/engine.h"

namespace ingot {
namespace {

namespace fs = std::filesystem;

const fs::path kModels = INGOT_SOURCE_DIR "/demo/models";

template <typename T>
T Must(Result<T> result) {
  EXPECT_TRUE(result.ok()) << result.status().message();
  INGOT_CHECK(result.ok());
  return *std::move(result);
}

struct Order {
  fs::path models_dir = kModels;
  std::string model = "ingot-demo";
  int width = 128, height = 128, steps = 2;
  std::string prompt = "a red house";
};

Job JobOf(const Order& order) {
  return Must(ResolveJob({.prompt = order.prompt,
                          .models = {.models_dir = order.models_dir, .model = order.model},
                          .width = order.width,
                          .height = order.height,
                          .steps = order.steps,
                          .seed = 1}));
}

// All that a plan says.
std::string Describe(const Plan& plan) {
  std::string text = fmt::format("fixed {}", plan.fixed_bytes);
  for (const PhasePlan& phase : plan.phases) {
    text += fmt::format("\n{} {} {} {} {} {}", phase.name, phase.arena_bytes, phase.resident_bytes,
                        phase.ring_bytes, phase.streamed_bytes, phase.peak_bytes());
  }
  return text;
}

class KeptWeightsTest : public testing::Test {
 protected:
  KeptWeightsTest() {
    INGOT_CHECK(::mkdtemp(folder_.data()) != nullptr);
    Open({});
  }
  void Open(const DeviceOptions& device) {
    engine_ = std::make_unique<Engine>(
        Must(Engine::Open({.num_threads = 2, .device = device, .keep_weights = true})));
  }
  ~KeptWeightsTest() override { fs::remove_all(folder_); }

  Result<JobResult> TryRun(const Order& order, std::optional<int64_t> memory_bytes = {}) {
    return engine_->Run(JobOf(order), {.paths = {fs::path(folder_) / "picture.png"},
                                       .budget = {.memory_bytes = memory_bytes}});
  }
  JobResult Run(const Order& order, std::optional<int64_t> memory_bytes = {}) {
    return Must(TryRun(order, memory_bytes));
  }

  std::string folder_ = (fs::temp_directory_path() / "ingot-kept-XXXXXX").string();
  std::unique_ptr<Engine> engine_;
};

int64_t StreamedBytes(const JobResult& result, std::string_view phase) {
  for (const PhaseMeasure& measure : result.record.phases) {
    if (measure.name == phase) return measure.streamed_bytes;
  }
  INGOT_CHECK(false);
}

// Of the transformer and the decoder; all else is as of the first.
void ExpectTheSecondReadsNothing(const JobResult& first, const JobResult& second) {
  for (const char* phase : {"hoist", "sampling", "decode"}) {
    EXPECT_GT(StreamedBytes(first, phase), 0) << phase;
    EXPECT_EQ(StreamedBytes(second, phase), 0) << phase;
  }
  EXPECT_EQ(first.images[0].sha256, second.images[0].sha256);
  EXPECT_EQ(Describe(first.record.plan), Describe(second.record.plan));
}

TEST_F(KeptWeightsTest, AnEqualJobReadsNoWeightOfTheTransformerOrTheDecoder) {
  const JobResult first = Run({}), second = Run({});
  ExpectTheSecondReadsNothing(first, second);
  EXPECT_GT(engine_->kept_bytes(), 0);
}

TEST_F(KeptWeightsTest, AnotherSizeTakesTheTransformer) {
  Run({});
  Order larger = {.width = 256, .height = 192};
  const JobResult warm = Run(larger);
  EXPECT_EQ(StreamedBytes(warm, "sampling"), 0);
  EXPECT_EQ(StreamedBytes(warm, "decode"), 0);
  EXPECT_GT(StreamedBytes(warm, "hoist"), 0);  // rotations are of the size
  engine_->Forget();
  const JobResult cold = Run(larger);
  EXPECT_GT(StreamedBytes(cold, "sampling"), 0);
  EXPECT_EQ(warm.images[0].sha256, cold.images[0].sha256);
  EXPECT_EQ(Describe(warm.record.plan), Describe(cold.record.plan));
}

TEST_F(KeptWeightsTest, AnotherPromptOrModelGetsNoRowsOfThis) {
  const JobResult house = Run({}), tree = Run({.prompt = "a green tree"});
  const JobResult other = Run({.model = "ingot-demo-Q4_0", .prompt = "a green tree"});
  EXPECT_GT(StreamedBytes(tree, "hoist"), 0);
  EXPECT_GT(StreamedBytes(other, "sampling"), 0);
  engine_->Forget();
  EXPECT_EQ(Run({.prompt = "a green tree"}).images[0].sha256, tree.images[0].sha256);
  engine_->Forget();
  EXPECT_EQ(Run({.model = "ingot-demo-Q4_0", .prompt = "a green tree"}).images[0].sha256,
            other.images[0].sha256);
}

TEST_F(KeptWeightsTest, ATightBudgetIsNotPassed) {
  const Order orders[] = {{}, {.model = "ingot-demo-Q4_0", .width = 256, .height = 192}, {}};
  for (const int64_t budget : {28 << 20, 40 << 20, 56 << 20, 72 << 20}) {
    for (const Order& order : orders) {
      const Plan cold = Must(engine_->PlanJob(JobOf(order), {.memory_bytes = budget}));
      const JobResult result = Run(order, budget);
      EXPECT_EQ(Describe(result.record.plan), Describe(cold));
      EXPECT_LE(cold.peak_ram_bytes(), budget);
      EXPECT_LE(result.measured_peak_bytes, budget)
          << order.model << " kept " << engine_->kept_bytes();
    }
  }
}

TEST_F(KeptWeightsTest, OfADeviceWithMemoryOfItsOwnTheyStayThere) {
  Open(SimOptions{.vram_bytes = 1 << 30});
  const JobResult first = Run({}), second = Run({});
  ExpectTheSecondReadsNothing(first, second);
  EXPECT_GT(engine_->ReadMemoryInUse().vram_bytes, 0);
  engine_->Forget();
  EXPECT_EQ(engine_->ReadMemoryInUse().vram_bytes, 0);
}

TEST_F(KeptWeightsTest, ATightDeviceIsNotPassed) {
  const Order orders[] = {{}, {.model = "ingot-demo-Q4_0", .width = 256, .height = 192}, {}};
  for (const int64_t vram_bytes : {28 << 20, 48 << 20, 64 << 20}) {
    Open(SimOptions{.vram_bytes = vram_bytes});
    for (const Order& order : orders) {
      const Plan cold = Must(engine_->PlanJob(JobOf(order), {}));
      const JobResult result = Run(order);
      EXPECT_EQ(Describe(result.record.plan), Describe(cold));
      EXPECT_LE(result.measured_peak_vram_bytes, vram_bytes);
      EXPECT_LE(result.measured_peak_vram_bytes,
                cold.peak_vram_bytes() + result.record.kept_vram_bytes);
    }
  }
}

TEST_F(KeptWeightsTest, AFileThatWasRewrittenIsReadAgain) {
  const fs::path models = fs::path(folder_) / "models";
  fs::copy(kModels, models, fs::copy_options::recursive);
  const Order order = {.models_dir = models};
  const JobResult first = Run(order);
  const Job job = JobOf(order);
  const fs::path file = job.models.flux.path();
  {  // the same bytes, written anew
    std::ifstream in(file, std::ios::binary);
    const std::string bytes((std::istreambuf_iterator<char>(in)), {});
    std::ofstream(file, std::ios::binary) << bytes;
  }
  const Result<JobResult> opened_before =
      engine_->Run(job, {.paths = {fs::path(folder_) / "picture.png"}});
  ASSERT_FALSE(opened_before.ok());
  EXPECT_EQ(opened_before.status().code(), StatusCode::kCorruption);
  const JobResult second = Run(order);
  EXPECT_GT(StreamedBytes(second, "hoist"), 0);
  EXPECT_GT(StreamedBytes(second, "sampling"), 0);
  EXPECT_EQ(StreamedBytes(second, "decode"), 0);
  EXPECT_EQ(first.images[0].sha256, second.images[0].sha256);
}

TEST_F(KeptWeightsTest, AnInterruptedJobLeavesItsWeightsToTheNext) {
  std::stop_source stop;
  const Result<JobResult> interrupted =
      engine_->Run(JobOf({.steps = 4}), {.paths = {fs::path(folder_) / "picture.png"},
                                         .progress =
                                             [&](const JobProgress& progress) {
                                               if (progress.step == 2) stop.request_stop();
                                             },
                                         .stop = stop.get_token()});
  ASSERT_EQ(interrupted.status().code(), StatusCode::kCancelled);
  const JobResult next = Run({.steps = 4});
  EXPECT_EQ(StreamedBytes(next, "hoist"), 0);
  EXPECT_EQ(StreamedBytes(next, "sampling"), 0);
}

// INGOT_KEPT_JOBS: how many, for a longer run.
TEST_F(KeptWeightsTest, AfterForgettingTheResidentSetIsThatOfBefore) {
  const auto resident_bytes = [&] {
    engine_->Forget();
    return Must(ReadProcessMemory()).resident_bytes;
  };
  const char* given = std::getenv("INGOT_KEPT_JOBS");
  const int num_jobs = given != nullptr ? std::atoi(given) : 12;
  const auto order = [](int i) {
    return Order{.model = i % 2 == 0 ? "ingot-demo" : "ingot-demo-Q4_0",
                 .width = 64 + 64 * (i % 3),
                 .height = 64,
                 .steps = 1 + i % 2};
  };
  for (int i = 0; i < 6; ++i) Run(order(i));  // each once: code is paged in
  const int64_t before = resident_bytes();
  for (int i = 0; i < num_jobs; ++i) Run(order(i));
  const int64_t after = resident_bytes();
  std::printf("%d jobs: resident set %lld bytes before, %lld after\n", num_jobs,
              static_cast<long long>(before), static_cast<long long>(after));
  EXPECT_LE(after - before, std::max<int64_t>(2 << 20, before / 100));
}

}  // namespace
}  // namespace ingot
