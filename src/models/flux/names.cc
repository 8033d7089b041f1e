#include "models/flux/names.h"

#include "models/names.h"
#include "models/sizes.h"

namespace ingot::flux {
namespace {

constexpr char kChroma[] = "distilled_guidance_layer.";
constexpr char kDiffusers[] = "single_transformer_blocks.";

}  // namespace

std::optional<std::string> CanonicalFluxName(std::string_view file_name) {
  const std::string_view name = WithoutPrefix(file_name, {"model.diffusion_model."});
  if (!BeginsWithAny(
          name, {"img_in.", "txt_in.", "time_in.", "vector_in.", "guidance_in.", "double_blocks.",
                 "single_blocks.", "final_layer.", kChroma, kDiffusers})) {
    return std::nullopt;
  }
  return std::string(name);
}

bool LooksLikeFlux(const TensorTable& table) {
  return table.Find("double_blocks.0.img_attn.norm.key_norm.scale") != nullptr ||
         HasPrefix(table, kDiffusers);
}

}  // namespace ingot::flux
