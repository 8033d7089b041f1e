#include "models/clip/clip.h"

#include <gtest/gtest.h>

#include "models/test_tables.h"

namespace ingot::clip {
namespace {

ClipOutputs BuildClip(Graph& g, const ClipConfig& config, int num_layers) {
  const ClipInputs in = {g.Input("input_ids", {2, 77}, DType::kI32),
                         g.Input("eos_idx", {2}, DType::kI32)};
  return ClipText(g, config, Scope(), in, num_layers);
}

TensorTable Checkpoint(const ClipConfig& config) {
  Graph g;
  BuildClip(g, config, config.num_hidden_layers);
  return TableOfWeights(g);
}

TEST(Clip, LargeHasTheTensorsAndParametersOfTheCheckpoint) {
  const TensorTable table = Checkpoint(ClipConfig());
  EXPECT_EQ(table.tensors().size(), 196u);  // 16 a layer, two embeddings, the final norm
  EXPECT_EQ(NumParameters(table), 123'060'480);
}

TEST(Clip, PoolsOneRowAText) {
  Graph g;
  const ClipOutputs out = BuildClip(g, ClipConfig(), 12);
  EXPECT_EQ(g.shape(out.hidden_state), Shape({2, 77, 768}));
  EXPECT_EQ(g.shape(out.last_hidden_state), Shape({2, 77, 768}));
  EXPECT_EQ(g.shape(out.pooler_output), Shape({2, 768}));
}

TEST(Clip, SkippedLayersAskForNoWeights) {
  Graph g;
  BuildClip(g, ClipConfig(), 11);
  const TensorTable table = TableOfWeights(g);
  EXPECT_EQ(table.tensors().size(), 180u);
  EXPECT_EQ(table.Find("text_model.encoder.layers.11.mlp.fc1.weight"), nullptr);
}

TEST(ClipConfig, ComesBackFromTheTensors) {
  const ClipConfig tiny = {.vocab_size = 60,
                           .max_position_embeddings = 77,
                           .hidden_size = 128,
                           .intermediate_size = 96,
                           .num_hidden_layers = 2};
  const Result<ClipConfig> config = ClipConfigFromTensors(Checkpoint(tiny));
  ASSERT_TRUE(config.ok()) << config.status().message();
  EXPECT_EQ(config->vocab_size, 60);
  EXPECT_EQ(config->max_position_embeddings, 77);
  EXPECT_EQ(config->num_heads(), 2);
  EXPECT_EQ(config->intermediate_size, 96);
  EXPECT_EQ(config->num_hidden_layers, 2);
}

TEST(ClipConfig, RefusesOpenClipBigGByName) {
  const Shape tokens = {49408, 1280};
  const TensorTable table =
      WithTensor(Checkpoint(ClipConfig()), "text_model.embeddings.token_embedding.weight", &tokens);
  const Status status = ClipConfigFromTensors(table).status();
  EXPECT_EQ(status.code(), StatusCode::kUnsupported);
  EXPECT_NE(status.message().find("OpenCLIP bigG"), std::string::npos);
}

}  // namespace
}  // namespace ingot::clip
