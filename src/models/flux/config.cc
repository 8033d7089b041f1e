#include "models/flux/config.h"

#include "models/sizes.h"

namespace ingot::flux {
namespace {

constexpr char kQueryNorm[] = "double_blocks.0.img_attn.norm.query_norm.scale";

// Relatives that share names with Flux but compute something else.
Status RefuseVariants(const TensorTable& table) {
  if (HasPrefix(table, "distilled_guidance_layer.")) {
    return Unsupported("{}: expected a FLUX.1 transformer, found Chroma (distilled_guidance_layer)",
                       table.source());
  }
  if (HasPrefix(table, "single_transformer_blocks.")) {
    return Unsupported(
        "{}: expected a FLUX.1 transformer in one file with the names of Black Forest Labs "
        "(double_blocks.0...), found the split layout of diffusers (transformer_blocks.0...); "
        "use the single file of the same model, such as flux1-dev.safetensors or a GGUF of it",
        table.source());
  }
  return {};
}

// FLUX.1 Fill, Canny and Depth take more channels than they predict: the
// condition is appended to the latent.
Status CheckChannels(const TensorTable& table, int64_t in, int64_t out) {
  if (in == out) return CheckMultiple(table, "img_in.weight", "in_channels", in, 4);
  const char* variant = in == 6 * out   ? "FLUX.1 Fill"
                        : in == 2 * out ? "FLUX.1 Canny or Depth"
                                        : "another model";
  return Unsupported(
      "{}: expected FLUX.1 dev or schnell (img_in takes the {} channels that final_layer gives), "
      "found img_in with {} channels: {}",
      table.source(), out, in, variant);
}

// axes_dim in the proportions of FLUX.1 (16, 56, 56 of 128); all even.
Status SetHeads(const TensorTable& table, int64_t head_dim, FluxConfig& config) {
  INGOT_RETURN_IF_ERROR(CheckMultiple(table, kQueryNorm, "head width", head_dim, 32));
  INGOT_RETURN_IF_ERROR(
      CheckMultiple(table, "img_in.weight", "hidden_size", config.hidden_size, head_dim));
  config.num_heads = config.hidden_size / head_dim;
  const int unit = static_cast<int>(head_dim / 16);
  config.axes_dim = {2 * unit, 7 * unit, 7 * unit};
  return {};
}

}  // namespace

Result<FluxConfig> FluxConfigFromTensors(const TensorTable& table) {
  INGOT_RETURN_IF_ERROR(RefuseVariants(table));
  INGOT_ASSIGN_OR_RETURN(const Shape img_in, GetDimensions(table, "img_in.weight", 2));
  INGOT_ASSIGN_OR_RETURN(const Shape txt_in, GetDimensions(table, "txt_in.weight", 2));
  INGOT_ASSIGN_OR_RETURN(const Shape vector_in,
                         GetDimensions(table, "vector_in.in_layer.weight", 2));
  INGOT_ASSIGN_OR_RETURN(const Shape final_layer,
                         GetDimensions(table, "final_layer.linear.weight", 2));
  INGOT_ASSIGN_OR_RETURN(const Shape mlp,
                         GetDimensions(table, "double_blocks.0.img_mlp.0.weight", 2));
  INGOT_ASSIGN_OR_RETURN(const Shape query_norm, GetDimensions(table, kQueryNorm, 1));

  FluxConfig config;
  config.in_channels = img_in[1];
  config.vec_in_dim = vector_in[1];
  config.context_in_dim = txt_in[1];
  config.hidden_size = img_in[0];
  config.mlp_hidden = mlp[0];
  INGOT_RETURN_IF_ERROR(CheckChannels(table, img_in[1], final_layer[0]));
  INGOT_RETURN_IF_ERROR(SetHeads(table, query_norm[0], config));
  INGOT_ASSIGN_OR_RETURN(config.depth, GetNumBlocks(table, "double_blocks", "img_attn.qkv.weight"));
  INGOT_ASSIGN_OR_RETURN(config.depth_single_blocks,
                         GetNumBlocks(table, "single_blocks", "linear1.weight"));
  config.qkv_bias = table.Find("double_blocks.0.img_attn.qkv.bias") != nullptr;
  config.guidance_embed = table.Find("guidance_in.in_layer.weight") != nullptr;
  return config;
}

}  // namespace ingot::flux
