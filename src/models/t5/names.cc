#include "models/t5/names.h"

#include "models/names.h"

namespace ingot::t5 {
namespace {

// `attn_q.weight` of llama.cpp -> `layer.0.SelfAttention.q.weight`.
bool RenameGgufLeaf(std::string& leaf) {
  return RenamePrefix(leaf, {{"attn_q.", "layer.0.SelfAttention.q."},
                             {"attn_k.", "layer.0.SelfAttention.k."},
                             {"attn_v.", "layer.0.SelfAttention.v."},
                             {"attn_o.", "layer.0.SelfAttention.o."},
                             {"attn_rel_b.", "layer.0.SelfAttention.relative_attention_bias."},
                             {"attn_norm.", "layer.0.layer_norm."},
                             {"ffn_gate.", "layer.1.DenseReluDense.wi_0."},
                             {"ffn_up.", "layer.1.DenseReluDense.wi_1."},
                             {"ffn_down.", "layer.1.DenseReluDense.wo."},
                             {"ffn_norm.", "layer.1.layer_norm."}});
}

// `enc.blk.N.leaf`; llama.cpp src/llama-arch.cpp LLM_ARCH_T5ENCODER.
std::optional<std::string> FromGgufBlock(std::string_view name) {
  constexpr std::string_view kBlocks = "enc.blk.";
  const std::string_view rest = name.substr(kBlocks.size());
  const size_t dot = rest.find('.');
  if (dot == std::string_view::npos) return std::nullopt;
  std::string leaf(rest.substr(dot + 1));
  if (!RenameGgufLeaf(leaf)) return std::nullopt;
  return "encoder.block." + std::string(rest.substr(0, dot + 1)) + leaf;
}

}  // namespace

std::optional<std::string> CanonicalT5Name(std::string_view file_name) {
  std::string name(
      WithoutPrefix(file_name, {"text_encoders.t5xxl.transformer.", "t5xxl.transformer."}));
  if (BeginsWithAny(name, {"shared.", "encoder.block.", "encoder.final_layer_norm."})) return name;
  if (name.starts_with("enc.blk.")) return FromGgufBlock(name);
  if (RenamePrefix(name, {{"encoder.embed_tokens.", "shared."},
                          {"token_embd.", "shared."},
                          {"enc.output_norm.", "encoder.final_layer_norm."}})) {
    return name;
  }
  return std::nullopt;
}

bool LooksLikeT5(const TensorTable& table) {
  return table.Find("encoder.block.0.layer.0.SelfAttention.q.weight") != nullptr;
}

}  // namespace ingot::t5
