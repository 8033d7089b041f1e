// T5Config from the shapes of a checkpoint.
#include "models/sizes.h"
#include "models/t5/t5.h"

namespace ingot::t5 {
namespace {

Status RefuseVariants(const TensorTable& table) {
  if (table.Find("encoder.block.0.layer.1.DenseReluDense.wi.weight") != nullptr) {
    return Unsupported("{}: expected a T5 v1.1 encoder (gated, wi_0 and wi_1), found T5 v1.0 (wi)",
                       table.source());
  }
  if (table.Find("encoder.block.1.layer.0.SelfAttention.relative_attention_bias.weight") !=
      nullptr) {
    return Unsupported("{}: expected a T5 v1.1 encoder (one relative_attention_bias), found UMT5",
                       table.source());
  }
  return {};
}

}  // namespace

Result<T5Config> T5ConfigFromTensors(const TensorTable& table) {
  INGOT_RETURN_IF_ERROR(RefuseVariants(table));
  constexpr char kBias[] = "encoder.block.0.layer.0.SelfAttention.relative_attention_bias.weight";
  constexpr char kQuery[] = "encoder.block.0.layer.0.SelfAttention.q.weight";
  INGOT_ASSIGN_OR_RETURN(const Shape shared, GetDimensions(table, "shared.weight", 2));
  INGOT_ASSIGN_OR_RETURN(const Shape bias, GetDimensions(table, kBias, 2));
  INGOT_ASSIGN_OR_RETURN(const Shape q, GetDimensions(table, kQuery, 2));
  INGOT_ASSIGN_OR_RETURN(
      const Shape wi,
      GetDimensions(table, "encoder.block.0.layer.1.DenseReluDense.wi_0.weight", 2));
  INGOT_RETURN_IF_ERROR(CheckMultiple(table, kQuery, "its rows", q[0], bias[1]));
  // Half the buckets a direction, half of those logarithmic up to distance 128.
  INGOT_RETURN_IF_ERROR(CheckMultiple(table, kBias, "its buckets", bias[0], 4));
  if (bias[0] > 256) {
    return Corruption("{}: tensor '{}': expected at most 256 buckets, found {}", table.source(),
                      kBias, bias[0]);
  }

  T5Config config;
  config.vocab_size = shared[0];
  config.d_model = shared[1];
  config.d_kv = q[0] / bias[1];
  config.d_ff = wi[0];
  config.num_heads = bias[1];
  config.relative_attention_num_buckets = bias[0];
  INGOT_ASSIGN_OR_RETURN(config.num_layers,
                         GetNumBlocks(table, "encoder.block", "layer.0.SelfAttention.q.weight"));
  return config;
}

}  // namespace ingot::t5
