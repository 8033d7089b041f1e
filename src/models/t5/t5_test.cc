#include "models/t5/t5.h"

#include <gtest/gtest.h>

#include "graph/passes/fuse.h"
#include "models/test_tables.h"

namespace ingot::t5 {
namespace {

TensorTable Checkpoint(const T5Config& config) {
  Graph g;
  T5Encoder(g, config, Scope(), g.Input("input_ids", {1, 8}, DType::kI32));
  return TableOfWeights(g);
}

// d_kv * num_heads is not d_model, as in T5-small v1.1.
constexpr T5Config kTiny = {.vocab_size = 50,
                            .d_model = 48,
                            .d_kv = 16,
                            .d_ff = 80,
                            .num_heads = 2,
                            .relative_attention_num_buckets = 32,
                            .num_layers = 3};

TEST(T5, XxlEncoderHasTheTensorsAndParametersOfTheCheckpoint) {
  const TensorTable table = Checkpoint(T5Config());
  EXPECT_EQ(table.tensors().size(), 219u);  // 9 a layer, table, bias, final norm
  EXPECT_EQ(NumParameters(table), 4'762'310'656);
}

TEST(T5, GivesOneVectorAToken) {
  Graph g;
  const Value out = T5Encoder(g, kTiny, Scope(), g.Input("input_ids", {2, 7}, DType::kI32));
  EXPECT_EQ(g.shape(out), Shape({2, 7, 48}));
}

TEST(T5, FusedLayerIsSevenLinearsTwoNormsAndAttention) {
  Graph g;
  const Value ids = g.Input("input_ids", {1, 256}, DType::kI32);
  g.MarkOutput("txt", T5Encoder(g, T5Config(), Scope(), ids));
  std::map<std::string_view, int> counts = CountOps(Fuse(g));
  counts.erase("reshape");
  EXPECT_EQ(counts, (std::map<std::string_view, int>{{"attention", 24},
                                                     {"embedding", 1},
                                                     {"linear", 24 * 7},
                                                     {"relative_position_bias", 1},
                                                     {"rms_norm", 24 * 2 + 1}}));
}

TEST(T5Config, ComesBackFromTheTensors) {
  const Result<T5Config> config = T5ConfigFromTensors(Checkpoint(kTiny));
  ASSERT_TRUE(config.ok()) << config.status().message();
  EXPECT_EQ(config->vocab_size, 50);
  EXPECT_EQ(config->d_model, 48);
  EXPECT_EQ(config->d_kv, 16);
  EXPECT_EQ(config->d_ff, 80);
  EXPECT_EQ(config->num_heads, 2);
  EXPECT_EQ(config->num_layers, 3);
}

TEST(T5Config, NamesTheQueryThatTheHeadsDoNotDivide) {
  const Shape q = {33, 48};
  const char* name = "encoder.block.0.layer.0.SelfAttention.q.weight";
  const TensorTable table = WithTensor(Checkpoint(kTiny), name, &q);
  EXPECT_EQ(T5ConfigFromTensors(table).status().message(),
            "checkpoint: tensor '" + std::string(name) +
                "': expected its rows to be a multiple of 2, found 33");
}

TEST(T5Config, RefusesUngatedT5AndUmt5ByName) {
  TensorTable v1_0 = Checkpoint(kTiny), umt5 = Checkpoint(kTiny);
  v1_0.Add("encoder.block.0.layer.1.DenseReluDense.wi.weight", {DType::kF32, {80, 48}});
  umt5.Add("encoder.block.1.layer.0.SelfAttention.relative_attention_bias.weight",
           {DType::kF32, {32, 2}});
  EXPECT_EQ(T5ConfigFromTensors(v1_0).status().code(), StatusCode::kUnsupported);
  EXPECT_NE(T5ConfigFromTensors(umt5).status().message().find("UMT5"), std::string::npos);
}

}  // namespace
}  // namespace ingot::t5
