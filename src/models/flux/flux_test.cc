#include "models/flux/flux.h"

#include <gtest/gtest.h>

#include "graph/passes/fuse.h"
#include "graph/passes/hoist.h"
#include "graph/passes/precision.h"
#include "models/test_tables.h"

namespace ingot::flux {
namespace {

constexpr FluxShape kShape = {.batch = 1, .txt_tokens = 256, .img_tokens = 4096};

Value BuildFlux(Graph& g, const FluxConfig& config) {
  return Flux(g, config, Scope(), DeclareFluxInputs(g, config, kShape));
}

TensorTable Checkpoint(const FluxConfig& config) {
  Graph g;
  BuildFlux(g, config);
  return TableOfWeights(g);
}

FluxConfig TinyConfig() {
  FluxConfig config;
  config.in_channels = 16;
  config.vec_in_dim = 24;
  config.context_in_dim = 40;
  config.hidden_size = 64;
  config.mlp_hidden = 128;
  config.num_heads = 2;
  config.depth = 2;
  config.depth_single_blocks = 3;
  config.axes_dim = {4, 14, 14};
  return config;
}

std::string ErrorOf(const TensorTable& table) {
  return FluxConfigFromTensors(table).status().message();
}

TEST(Flux, DevHasTheTensorsAndParametersOfTheCheckpoint) {
  const TensorTable table = Checkpoint(FluxConfig());
  EXPECT_EQ(table.tensors().size(), 780u);
  EXPECT_EQ(NumParameters(table), 11'901'408'320);
}

TEST(Flux, SchnellHasNoGuidanceTensors) {
  const TensorTable table = Checkpoint({.guidance_embed = false});
  EXPECT_EQ(table.tensors().size(), 776u);
  EXPECT_EQ(table.Find("guidance_in.in_layer.weight"), nullptr);
}

TEST(Flux, PredictsOneVelocityAPatch) {
  Graph g;
  const Value velocity = BuildFlux(g, FluxConfig());
  EXPECT_EQ(g.shape(velocity), Shape({1, 4096, 64}));
}

TEST(Flux, KeepsTheBatch) {
  Graph g;
  const FluxConfig config = TinyConfig();
  const FluxShape shape = {.batch = 3, .txt_tokens = 5, .img_tokens = 6};
  const Value velocity = Flux(g, config, Scope(), DeclareFluxInputs(g, config, shape));
  EXPECT_EQ(g.shape(velocity), Shape({3, 6, 16}));
}

Hoisted HoistFlux(const FluxConfig& config, int64_t num_steps) {
  Graph g;
  g.MarkOutput("velocity", BuildFlux(g, config));
  return Hoist(g, {.varying = {"img"}, .stepwise = {"timesteps"}, .num_rows = num_steps});
}

int64_t NumBytesOfCrossings(const Hoisted& cut, bool stepwise) {
  int64_t num_bytes = 0;
  for (const Hoisted::Crossing& crossing : cut.crossings) {
    if (crossing.stepwise != stepwise) continue;
    num_bytes += NumBytes(DType::kF32, cut.main.shape(cut.main.FindInput(crossing.name)));
  }
  return num_bytes;
}

// Design, section 4.
TEST(Flux, HoistTakes28PercentOfTheParametersFor4MebibytesAStep) {
  const Hoisted cut = HoistFlux(FluxConfig(), 4);
  const TensorTable main = TableOfWeights(cut.main), hoisted = TableOfWeights(cut.hoisted);
  EXPECT_EQ(NumParameters(main) + NumParameters(hoisted), 11'901'408'320);
  EXPECT_EQ(NumParameters(hoisted), 3'292'296'192);
  for (const auto& [name, info] : hoisted.tensors()) EXPECT_EQ(main.Find(name), nullptr) << name;
  EXPECT_EQ(NumBytesOfCrossings(cut, true), (2 * 19 * 6 + 38 * 3 + 2) * 3072 * 4);
  // Embedded text and the table of rotations.
  EXPECT_EQ(NumBytesOfCrossings(cut, false), 256 * 3072 * 4 + (256 + 4096) * 128 * 4);
  EXPECT_LT(cut.main.FindInput("timesteps").id, 0);
  EXPECT_LT(cut.main.FindInput("txt").id, 0);
}

// Reshapes move nothing; slices are views in runs.
TEST(Flux, FusedIsLinearsAttentionAndTurnedHeads) {
  const Graph fused = Fuse(HoistFlux(FluxConfig(), 4).main);
  std::map<std::string_view, int> counts = CountOps(fused);
  counts.erase("reshape");
  counts.erase("slice");
  EXPECT_EQ(counts, (std::map<std::string_view, int>{{"attention", 19 + 38},
                                                     {"concat", 19 * 3 + 1},
                                                     {"linear", 1 + 19 * 8 + 38 * 2 + 1},
                                                     {"rms_norm_rope", 19 * 4 + 38 * 2}}));
  std::map<op::Prologue, int> prologues;
  std::map<op::Epilogue, int> epilogues;
  for (const Node& node : fused.nodes()) {
    const auto* linear = std::get_if<op::Linear>(&node.op);
    if (linear == nullptr) continue;
    ++prologues[linear->prologue];
    ++epilogues[linear->epilogue];
  }
  // proj and img_in have none before; qkv, mlp.0, linear1, img_in and final_layer none behind.
  EXPECT_EQ(prologues, (std::map<op::Prologue, int>{{op::Prologue::kNone, 19 * 2 + 1},
                                                    {op::Prologue::kAdaLayerNorm, 19 * 4 + 38 + 1},
                                                    {op::Prologue::kGeluTanh, 19 * 2},
                                                    {op::Prologue::kConcatGeluTanh, 38}}));
  EXPECT_EQ(epilogues, (std::map<op::Epilogue, int>{{op::Epilogue::kNone, 19 * 4 + 38 + 2},
                                                    {op::Epilogue::kGatedAdd, 19 * 4 + 38}}));
}

TEST(Flux, OnlyImgInAndTheFinalLayerOfMainStayInF32) {
  const Graph fused = Fuse(HoistFlux(FluxConfig(), 4).main);
  const auto q4_0 = [](std::string_view) { return DType::kQ4_0; };
  const Graph set = SetPrecision(fused, Precision::kDefault, q4_0);
  std::vector<std::string> in_f32;
  for (const Node& node : set.nodes()) {
    const auto* linear = std::get_if<op::Linear>(&node.op);
    if (linear == nullptr || linear->compute == op::Compute::kI8) continue;
    const auto weight = static_cast<size_t>(op::OperandsOf(*linear).weight);
    in_f32.push_back(std::get<op::Weight>(set.node(node.inputs[weight]).op).name);
    EXPECT_EQ(linear->compute, op::Compute::kF32);
  }
  EXPECT_EQ(in_f32, (std::vector<std::string>{"img_in.weight", "final_layer.linear.weight"}));
}

TEST(FluxConfig, ComesBackFromTheTensorsOfDev) {
  const Result<FluxConfig> config = FluxConfigFromTensors(Checkpoint(FluxConfig()));
  ASSERT_TRUE(config.ok()) << config.status().message();
  EXPECT_EQ(config->in_channels, 64);
  EXPECT_EQ(config->vec_in_dim, 768);
  EXPECT_EQ(config->context_in_dim, 4096);
  EXPECT_EQ(config->hidden_size, 3072);
  EXPECT_EQ(config->mlp_hidden, 12288);
  EXPECT_EQ(config->num_heads, 24);
  EXPECT_EQ(config->depth, 19);
  EXPECT_EQ(config->depth_single_blocks, 38);
  EXPECT_EQ(config->axes_dim, (std::array<int, 3>{16, 56, 56}));
  EXPECT_TRUE(config->qkv_bias);
  EXPECT_TRUE(config->guidance_embed);
}

TEST(FluxConfig, SeesWhatATinySchnellWithoutQkvBiasLacks) {
  FluxConfig tiny = TinyConfig();
  tiny.qkv_bias = false;
  tiny.guidance_embed = false;
  const Result<FluxConfig> config = FluxConfigFromTensors(Checkpoint(tiny));
  ASSERT_TRUE(config.ok()) << config.status().message();
  EXPECT_EQ(config->axes_dim, tiny.axes_dim);
  EXPECT_EQ(config->num_heads, 2);
  EXPECT_FALSE(config->qkv_bias);
  EXPECT_FALSE(config->guidance_embed);
}

TEST(FluxConfig, NamesTheMissingTensor) {
  const TensorTable table = WithTensor(Checkpoint(TinyConfig()), "txt_in.weight", nullptr);
  EXPECT_EQ(ErrorOf(table),
            "checkpoint: expected tensor 'txt_in.weight' with 2 dimensions, "
            "found none");
}

TEST(FluxConfig, NamesTheHeadWidthThatRopeCannotSplit) {
  const Shape head = {48};
  const char* name = "double_blocks.0.img_attn.norm.query_norm.scale";
  const TensorTable table = WithTensor(Checkpoint(TinyConfig()), name, &head);
  EXPECT_EQ(ErrorOf(table), "checkpoint: tensor '" + std::string(name) +
                                "': expected head width to be a multiple of 32, found 48");
}

TEST(FluxConfig, RefusesAGapBetweenBlocks) {
  const TensorTable table =
      WithTensor(Checkpoint(TinyConfig()), "single_blocks.1.linear1.weight", nullptr);
  EXPECT_EQ(ErrorOf(table),
            "checkpoint: expected tensor 'single_blocks.1.linear1.weight', found "
            "'single_blocks.1.linear1.bias' without it");
}

TEST(FluxConfig, RefusesFillDepthAndCannyByName) {
  const Shape fill = {3072, 384}, control = {3072, 128};
  const TensorTable dev = Checkpoint(FluxConfig());
  const Status fill_status =
      FluxConfigFromTensors(WithTensor(dev, "img_in.weight", &fill)).status();
  EXPECT_EQ(fill_status.code(), StatusCode::kUnsupported);
  EXPECT_NE(fill_status.message().find("FLUX.1 Fill"), std::string::npos);
  EXPECT_NE(ErrorOf(WithTensor(dev, "img_in.weight", &control)).find("Canny or Depth"),
            std::string::npos);
}

TEST(FluxConfig, RefusesChromaAndDiffusersByName) {
  TensorTable chroma = Checkpoint({.guidance_embed = false});
  chroma.Add("distilled_guidance_layer.layers.0.in_layer.bias", {DType::kF32, {5120}});
  EXPECT_NE(ErrorOf(chroma).find("Chroma"), std::string::npos);
  TensorTable diffusers("checkpoint");
  diffusers.Add("single_transformer_blocks.0.attn.to_q.weight", {DType::kF32, {3072, 3072}});
  const Status status = FluxConfigFromTensors(diffusers).status();
  EXPECT_EQ(status.code(), StatusCode::kUnsupported);
  EXPECT_NE(status.message().find("flux1-dev.safetensors"), std::string::npos);
}

}  // namespace
}  // namespace ingot::flux
