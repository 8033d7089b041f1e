// Forge's `forge_inference_memory` through the engine: a hint that bounds resident weights.
#include <gtest/gtest.h>

#include <limits>

#include "engine/engine.h"

namespace ingot {
namespace {

namespace fs = std::filesystem;

constexpr int64_t kBudget = 64 << 20;

TEST(InferenceMemory, AnyHintGivesAPlanThatFitsAndTheSamePixels) {
  std::string folder = (fs::temp_directory_path() / "ingot-hint-XXXXXX").string();
  ASSERT_NE(::mkdtemp(folder.data()), nullptr);
  Result<Engine> engine = Engine::Open({.num_threads = 2});
  const Result<Job> job =
      ResolveJob({.prompt = "a red house",
                  .models = {.models_dir = INGOT_SOURCE_DIR "/demo/models", .model = "ingot-demo"},
                  .width = 64,
                  .height = 64,
                  .steps = 3,
                  .seed = 1});
  ASSERT_TRUE(engine.ok() && job.ok());
  std::string sha256;
  int64_t last_resident = std::numeric_limits<int64_t>::max(), first_resident = 0;
  for (const std::optional<int64_t> hint : {std::optional<int64_t>(),
                                            {-1},
                                            {0},
                                            {1},
                                            {48},
                                            {56},
                                            {64},
                                            {1 << 20},
                                            {std::numeric_limits<int64_t>::max()}}) {
    const Result<JobResult> result =
        engine->Run(*job, {.paths = {fs::path(folder) / "x.png"},
                           .budget = {.memory_bytes = kBudget, .forge_inference_memory = hint}});
    ASSERT_TRUE(result.ok()) << result.status().message();
    const PhasePlan& sampling = result->record.plan.phases[3];
    EXPECT_LE(result->record.plan.peak_ram_bytes(), kBudget);
    EXPECT_LE(result->measured_peak_bytes, kBudget);
    EXPECT_LE(sampling.resident_bytes, last_resident);
    if (hint && *hint > 0 && *hint <= kBudget >> 20) {
      EXPECT_LE(sampling.resident_bytes, kBudget - (*hint << 20)) << *hint;
    }
    if (sha256.empty()) {
      sha256 = result->images[0].sha256;
      first_resident = sampling.resident_bytes;
    }
    EXPECT_EQ(result->images[0].sha256, sha256);
    last_resident = sampling.resident_bytes;
  }
  EXPECT_GT(first_resident, 0);
  EXPECT_EQ(last_resident, 0);
  fs::remove_all(folder);
}

}  // namespace
}  // namespace ingot
