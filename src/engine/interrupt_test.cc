// A batch that is ended early gives the pictures that were sampled, unchanged.
#include <gtest/gtest.h>

#include "engine/engine.h"

namespace ingot {
namespace {

namespace fs = std::filesystem;

constexpr int kSteps = 3;

class InterruptTest : public testing::Test {
 protected:
  InterruptTest() {
    INGOT_CHECK(::mkdtemp(folder_.data()) != nullptr);
    Result<Engine> engine = Engine::Open({.num_threads = 2});
    INGOT_CHECK(engine.ok());
    engine_.emplace(*std::move(engine));
  }
  ~InterruptTest() override { fs::remove_all(folder_); }

  // Of `batch` pictures, interrupted after step `last_step` of all.
  Result<JobResult> Run(int batch, int last_step) {
    const Result<Job> job = ResolveJob({.prompt = "a red house",
                                        .models = {.models_dir = INGOT_SOURCE_DIR "/demo/models"},
                                        .width = 64,
                                        .height = 64,
                                        .steps = kSteps,
                                        .batch = batch,
                                        .seed = 5});
    INGOT_CHECK(job.ok());
    std::stop_source interrupt;
    RunOptions options{.interrupt = interrupt.get_token()};
    for (int i = 0; i < batch; ++i) {
      options.paths.push_back(fs::path(folder_) / fmt::format("{}.png", i));
    }
    options.progress = [&](const JobProgress& progress) {
      if (progress.phase == "sampling" && progress.step == last_step) interrupt.request_stop();
    };
    return engine_->Run(*job, options);
  }

  std::string folder_ = testing::TempDir() + "ingot-interrupt-XXXXXX";
  std::optional<Engine> engine_;
};

TEST_F(InterruptTest, WhatIsSampledIsDecodedAndSaved) {
  const Result<JobResult> whole = Run(2, -1);
  ASSERT_TRUE(whole.ok()) << whole.status().message();
  EXPECT_FALSE(whole->is_interrupted);
  fs::remove(whole->images[1].path);
  const Result<JobResult> part = Run(3, kSteps + 1);
  ASSERT_TRUE(part.ok()) << part.status().message();
  EXPECT_TRUE(part->is_interrupted);
  ASSERT_EQ(part->images.size(), 1u);
  EXPECT_EQ(part->images[0].sha256, whole->images[0].sha256);
  EXPECT_FALSE(fs::exists(fs::path(folder_) / "1.png"));
}

TEST_F(InterruptTest, WithoutAPictureItIsACancellation) {
  EXPECT_EQ(Run(3, 1).status().code(), StatusCode::kCancelled);
}

TEST_F(InterruptTest, ABatchThatIsSampledIsWhole) {
  const Result<JobResult> whole = Run(2, 2 * kSteps);
  ASSERT_TRUE(whole.ok()) << whole.status().message();
  EXPECT_FALSE(whole->is_interrupted);
}

}  // namespace
}  // namespace ingot
