#include "models/vae/names.h"

#include "models/names.h"

namespace ingot::vae {
namespace {

// `resnets.J.conv1.weight` -> `block.J.conv1.weight`; also the parts of a level.
bool RenameLevelPart(std::string& part) {
  if (const size_t at = part.find("conv_shortcut"); at != std::string::npos) {
    part.replace(at, 13, "nin_shortcut");
  }
  return RenamePrefix(
      part,
      {{"resnets.", "block."}, {"upsamplers.0.", "upsample."}, {"downsamplers.0.", "downsample."}});
}

// `3.resnets…` behind `up_blocks.` or `down_blocks.`: one digit, a dot, a part.
std::optional<std::string> FromLevel(std::string_view level, bool reversed) {
  constexpr char kLastLevel = '3';
  if (level.size() < 2 || level[0] < '0' || level[0] > kLastLevel || level[1] != '.') {
    return std::nullopt;
  }
  const char idx = reversed ? static_cast<char>('0' + kLastLevel - level[0]) : level[0];
  std::string part(level.substr(2));
  if (!RenameLevelPart(part)) return std::nullopt;
  return std::string(1, idx) + "." + part;
}

// The attention's leaves by their names before and since diffusers 0.17.
bool RenameMidPart(std::string& part) {
  if (RenamePrefix(part, {{"resnets.0.", "block_1."}, {"resnets.1.", "block_2."}})) return true;
  constexpr std::string_view kAttention = "attentions.0.";
  if (!part.starts_with(kAttention)) return false;
  std::string leaf = part.substr(kAttention.size());
  const bool known = RenamePrefix(leaf, {{"group_norm.", "norm."},
                                         {"to_q.", "q."},
                                         {"to_k.", "k."},
                                         {"to_v.", "v."},
                                         {"to_out.0.", "proj_out."},
                                         {"query.", "q."},
                                         {"key.", "k."},
                                         {"value.", "v."},
                                         {"proj_attn.", "proj_out."}});
  part = "attn_1." + leaf;
  return known;
}

// A name behind `encoder.` or `decoder.`, of either spelling.
std::optional<std::string> FromSide(std::string_view side) {
  if (BeginsWithAny(side, {"conv_in.", "conv_out.", "norm_out.", "mid.", "up.", "down."})) {
    return std::string(side);
  }
  std::string part(side);
  if (RenamePrefix(part, {{"conv_norm_out.", "norm_out."}})) return part;
  if (RenamePrefix(part, {{"mid_block.", ""}})) {
    return RenameMidPart(part) ? std::optional("mid." + part) : std::nullopt;
  }
  const bool up = RenamePrefix(part, {{"up_blocks.", ""}});
  if (!up && !RenamePrefix(part, {{"down_blocks.", ""}})) return std::nullopt;
  const std::optional<std::string> level = FromLevel(part, /*reversed=*/up);
  return level ? std::optional((up ? "up." : "down.") + *level) : std::nullopt;
}

}  // namespace

std::optional<std::string> CanonicalVaeName(std::string_view file_name) {
  const std::string_view name = WithoutPrefix(file_name, {"first_stage_model.", "vae."});
  if (BeginsWithAny(name, {"quant_conv.", "post_quant_conv."})) return std::string(name);
  if (!BeginsWithAny(name, {"encoder.", "decoder."})) return std::nullopt;
  constexpr size_t kSideLength = 8;  // "encoder.", "decoder."
  const std::optional<std::string> rest = FromSide(name.substr(kSideLength));
  return rest ? std::optional(std::string(name.substr(0, kSideLength)) + *rest) : std::nullopt;
}

bool LooksLikeVae(const TensorTable& table) {
  return table.Find("decoder.conv_in.weight") != nullptr &&
         table.Find("decoder.mid.block_1.conv1.weight") != nullptr;
}

}  // namespace ingot::vae
