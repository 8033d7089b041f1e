#include "models/vae/vae.h"

#include <gtest/gtest.h>

#include "graph/passes/fuse.h"
#include "models/test_tables.h"

namespace ingot::vae {
namespace {

TensorTable Checkpoint(const VaeConfig& config) {
  Graph g;
  Encode(g, config, Scope(), g.Input("x", {1, 64, 64, 3}));
  Decode(g, config, Scope(), g.Input("z", {1, 8, 8, config.z_channels}), kFluxLatents);
  return TableOfWeights(g);
}

TEST(Vae, HasTheTensorsAndParametersOfTheFluxCheckpoint) {
  const TensorTable table = Checkpoint(VaeConfig());
  EXPECT_EQ(table.tensors().size(), 244u);
  EXPECT_EQ(NumParameters(table), 83'819'683);
}

TEST(Vae, StableDiffusionHasQuantConvolutions) {
  const TensorTable table = Checkpoint({.z_channels = 4, .quant_conv = true});
  EXPECT_EQ(table.tensors().size(), 248u);
  EXPECT_EQ(NumParameters(table), 83'653'863);
}

TEST(Vae, DecodesEightPixelsALatentPixel) {
  Graph g;
  const Value x = Decode(g, VaeConfig(), Scope(), g.Input("z", {2, 5, 7, 16}), kFluxLatents);
  EXPECT_EQ(g.shape(x), Shape({2, 40, 56, 3}));
}

// conv_in, the middle with its attention, levels with two shortcuts, upsampling, conv_out.
TEST(Vae, FusedDecoderIsConvolutionsAndStatistics) {
  Graph g;
  const Value z = g.Input("z", {1, 64, 64, 16});
  g.MarkOutput("picture", Decode(g, VaeConfig(), Scope(), z, kFluxLatents));
  EXPECT_EQ(CountOps(Fuse(g)),
            (std::map<std::string_view, int>{{"affine", 1},
                                             {"attention", 1},
                                             {"conv2d", 1 + 4 + 4 + 24 + 2 + 3 + 1},
                                             {"group_norm", 1},
                                             {"group_norm_stats", 29},
                                             {"reshape", 4}}));
}

TEST(Vae, EncodesToMeanAndLogvarOfLatentSize) {
  Graph g;
  const Moments moments = Encode(g, VaeConfig(), Scope(), g.Input("x", {2, 40, 56, 3}));
  EXPECT_EQ(g.shape(moments.mean), Shape({2, 5, 7, 16}));
  EXPECT_EQ(g.shape(moments.logvar), Shape({2, 5, 7, 16}));
}

TEST(VaeConfig, ComesBackFromTheTensors) {
  const VaeConfig tiny = {.z_channels = 4,
                          .block_out_channels = {32, 64, 96},
                          .num_res_blocks = 1,
                          .quant_conv = true,
                          .linear_attn = true};
  const Result<VaeConfig> config = VaeConfigFromTensors(Checkpoint(tiny));
  ASSERT_TRUE(config.ok()) << config.status().message();
  EXPECT_EQ(config->z_channels, 4);
  EXPECT_EQ(config->block_out_channels, tiny.block_out_channels);
  EXPECT_EQ(config->num_res_blocks, 1);
  EXPECT_EQ(config->scale(), 4);
  EXPECT_TRUE(config->quant_conv);
  EXPECT_TRUE(config->linear_attn);
}

TEST(VaeConfig, NamesChannelsThatTheGroupsDoNotDivide) {
  const Shape conv1 = {100, 128, 3, 3};
  const char* name = "decoder.up.0.block.0.conv1.weight";
  const TensorTable table = WithTensor(Checkpoint(VaeConfig()), name, &conv1);
  EXPECT_EQ(VaeConfigFromTensors(table).status().message(),
            "checkpoint: tensor '" + std::string(name) +
                "': expected channels to be a multiple of 32, found 100");
}

}  // namespace
}  // namespace ingot::vae
