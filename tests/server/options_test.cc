#include "server/options.h"

#include <gtest/gtest.h>

#include "fake_job_service.h"

namespace ingot::server {
namespace {

struct Options : testing::Test {
  FakeJobService jobs;
  ModelCatalog models{jobs, "/m"};
  OptionStore options{jobs, models};
};

TEST_F(Options, TheWholeObjectPostedBackChangesNothing) {
  ASSERT_TRUE(options.Set({{"CLIP_stop_at_last_layers", 2}}).ok());
  jobs.stored["other"] = 1;
  const Json stored = jobs.stored["options"];
  Json all = *options.All();
  all["unknown"] = "x";
  EXPECT_TRUE(options.Set(all).ok());
  EXPECT_EQ(jobs.stored["options"], stored);
}

TEST_F(Options, AModelIsFoundByEveryAlias) {
  for (const char* name : {"ingot-demo.gguf [aaaaaaaaaa]", "ingot-demo.gguf", "ingot-demo",
                           "INGOT-demo.GGUF", "aaaaaaaaaa", "ingot-demo.gguf [0123456789]"}) {
    ASSERT_TRUE(options.Set({{"sd_model_checkpoint", "flux/schnell-Q4_0.gguf"}}).ok());
    ASSERT_TRUE(options.Set({{"sd_model_checkpoint", name}}).ok()) << name;
    EXPECT_EQ((*options.All())["sd_model_checkpoint"], "ingot-demo.gguf [aaaaaaaaaa]") << name;
  }
  ASSERT_TRUE(options.Set({{"sd_model_checkpoint", "flux_schnell-Q4_0"}}).ok());
  EXPECT_EQ((*options.All())["sd_model_checkpoint"], "flux/schnell-Q4_0.gguf");
  EXPECT_EQ((*options.All())["sd_checkpoint_hash"], "");
}

TEST_F(Options, AnUnknownModelIsRefusedAndNothingIsKept) {
  const Status status =
      options.Set({{"CLIP_stop_at_last_layers", 2}, {"sd_model_checkpoint", "x"}});
  EXPECT_EQ(status.code(), StatusCode::kNotFound);
  EXPECT_TRUE(status.message().starts_with("sd_model_checkpoint: expected Flux transformer"))
      << status.message();
  EXPECT_TRUE(jobs.stored.empty());
}

TEST_F(Options, AVaeIsNoModel) {
  EXPECT_FALSE(options.Set({{"sd_model_checkpoint", "ae.safetensors"}}).ok());
  EXPECT_TRUE(options.Set({{"sd_vae", "ae.safetensors"}}).ok());
}

TEST_F(Options, AValueThatWouldChangeThePictureIsRefusedByName) {
  const Status status = options.Set({{"sd_vae_decode_method", "TAESD"}});
  EXPECT_EQ(status.message(), "sd_vae_decode_method: only \"Full\" is there yet, found \"TAESD\"");
  EXPECT_FALSE(options.Set({{"samples_format", "jpg"}}).ok());
  EXPECT_TRUE(options.Set({{"samples_format", "PNG"}}).ok());
  EXPECT_FALSE(options.Set({{"jpeg_quality", Json::object()}}).ok());
  EXPECT_TRUE(options.Set({{"s_noise", "1.0"}, {"uni_pc_order", 3.0}}).ok());
}

TEST_F(Options, TheFirstModelIsTheDefault) {
  EXPECT_EQ((*options.All())["sd_model_checkpoint"], "ingot-demo.gguf [aaaaaaaaaa]");
}

}  // namespace
}  // namespace ingot::server
