// ClipConfig from the shapes of a checkpoint.
#include "models/clip/clip.h"
#include "models/sizes.h"

namespace ingot::clip {

Result<ClipConfig> ClipConfigFromTensors(const TensorTable& table) {
  constexpr char kTokens[] = "text_model.embeddings.token_embedding.weight";
  INGOT_ASSIGN_OR_RETURN(const Shape tokens, GetDimensions(table, kTokens, 2));
  INGOT_ASSIGN_OR_RETURN(
      const Shape positions,
      GetDimensions(table, "text_model.embeddings.position_embedding.weight", 2));
  INGOT_ASSIGN_OR_RETURN(const Shape fc1,
                         GetDimensions(table, "text_model.encoder.layers.0.mlp.fc1.weight", 2));
  INGOT_RETURN_IF_ERROR(CheckMultiple(table, kTokens, "width", tokens[1], kHeadDim));
  // A checkpoint does not tell its activation, but OpenCLIP's are known by their widths.
  if (tokens[1] == 1024 || tokens[1] == 1280) {
    return Unsupported("{}: expected CLIP-L (width 768, quick_gelu), found OpenCLIP {} (width {})",
                       table.source(), tokens[1] == 1024 ? "H" : "bigG", tokens[1]);
  }

  ClipConfig config;
  config.vocab_size = tokens[0];
  config.max_position_embeddings = positions[0];
  config.hidden_size = tokens[1];
  config.intermediate_size = fc1[0];
  INGOT_ASSIGN_OR_RETURN(config.num_hidden_layers, GetNumBlocks(table, "text_model.encoder.layers",
                                                                "self_attn.q_proj.weight"));
  return config;
}

}  // namespace ingot::clip
