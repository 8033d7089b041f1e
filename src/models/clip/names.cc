#include "models/clip/names.h"

#include "models/names.h"

namespace ingot::clip {

std::optional<std::string> CanonicalClipName(std::string_view file_name) {
  const std::string_view bare = WithoutPrefix(
      file_name, {"text_encoders.clip_l.transformer.", "clip_l.transformer.",
                  "cond_stage_model.transformer.", "conditioner.embedders.0.transformer."});
  const std::string_view name = WithoutPrefix(bare, {"text_model."});
  if (name.ends_with("position_ids")) return std::nullopt;
  if (!BeginsWithAny(name, {"embeddings.token_embedding.", "embeddings.position_embedding.",
                            "encoder.layers.", "final_layer_norm."})) {
    return std::nullopt;
  }
  return "text_model." + std::string(name);
}

bool LooksLikeClip(const TensorTable& table) {
  return table.Find("text_model.embeddings.token_embedding.weight") != nullptr;
}

}  // namespace ingot::clip
