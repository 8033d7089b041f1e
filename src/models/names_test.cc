#include <gtest/gtest.h>

#include "models/clip/names.h"
#include "models/flux/names.h"
#include "models/t5/names.h"
#include "models/vae/names.h"

namespace ingot {
namespace {

TEST(FluxNames, LoseThePrefixOfSingleFileSets) {
  EXPECT_EQ(flux::CanonicalFluxName("model.diffusion_model.double_blocks.3.img_attn.qkv.weight"),
            "double_blocks.3.img_attn.qkv.weight");
  EXPECT_EQ(flux::CanonicalFluxName("final_layer.adaLN_modulation.1.bias"),
            "final_layer.adaLN_modulation.1.bias");
  EXPECT_EQ(flux::CanonicalFluxName("first_stage_model.decoder.conv_in.weight"), std::nullopt);
  EXPECT_EQ(flux::CanonicalFluxName("encoder.block.0.layer.0.layer_norm.weight"), std::nullopt);
}

TEST(T5Names, AreThoseOfTransformersUnderAnyPrefix) {
  const char* q = "encoder.block.7.layer.0.SelfAttention.q.weight";
  EXPECT_EQ(t5::CanonicalT5Name(q), q);
  EXPECT_EQ(t5::CanonicalT5Name(std::string("text_encoders.t5xxl.transformer.") + q), q);
  EXPECT_EQ(t5::CanonicalT5Name(std::string("t5xxl.transformer.") + q), q);
  EXPECT_EQ(t5::CanonicalT5Name("encoder.embed_tokens.weight"), "shared.weight");
  EXPECT_EQ(t5::CanonicalT5Name("encoder.conv_in.weight"), std::nullopt);
  EXPECT_EQ(t5::CanonicalT5Name("decoder.block.0.layer.0.SelfAttention.q.weight"), std::nullopt);
}

TEST(T5Names, TranslateThoseOfLlamaCpp) {
  const std::pair<const char*, const char*> pairs[] = {
      {"token_embd.weight", "shared.weight"},
      {"enc.blk.0.attn_rel_b.weight",
       "encoder.block.0.layer.0.SelfAttention.relative_attention_bias.weight"},
      {"enc.blk.12.attn_o.weight", "encoder.block.12.layer.0.SelfAttention.o.weight"},
      {"enc.blk.12.attn_norm.weight", "encoder.block.12.layer.0.layer_norm.weight"},
      {"enc.blk.1.ffn_gate.weight", "encoder.block.1.layer.1.DenseReluDense.wi_0.weight"},
      {"enc.blk.1.ffn_up.weight", "encoder.block.1.layer.1.DenseReluDense.wi_1.weight"},
      {"enc.blk.1.ffn_down.weight", "encoder.block.1.layer.1.DenseReluDense.wo.weight"},
      {"enc.blk.1.ffn_norm.weight", "encoder.block.1.layer.1.layer_norm.weight"},
      {"enc.output_norm.weight", "encoder.final_layer_norm.weight"},
  };
  for (const auto& [gguf, name] : pairs) EXPECT_EQ(t5::CanonicalT5Name(gguf), name);
  EXPECT_EQ(t5::CanonicalT5Name("enc.blk.1.unknown.weight"), std::nullopt);
  EXPECT_EQ(t5::CanonicalT5Name("enc.blk.1"), std::nullopt);
}

TEST(ClipNames, AreThoseOfTransformersUnderAnyPrefix) {
  const std::string name = "text_model.encoder.layers.3.mlp.fc1.bias";
  for (const char* prefix :
       {"", "text_encoders.clip_l.transformer.", "clip_l.transformer.",
        "cond_stage_model.transformer.", "conditioner.embedders.0.transformer."}) {
    EXPECT_EQ(clip::CanonicalClipName(prefix + name), name);
  }
  EXPECT_EQ(clip::CanonicalClipName("cond_stage_model.transformer.encoder.layers.3.mlp.fc1.bias"),
            name);
}

TEST(ClipNames, LeaveOutWhatTheEncoderDoesNotNeed) {
  EXPECT_EQ(clip::CanonicalClipName("text_model.embeddings.position_ids"), std::nullopt);
  EXPECT_EQ(clip::CanonicalClipName("logit_scale"), std::nullopt);
  EXPECT_EQ(clip::CanonicalClipName("text_projection.weight"), std::nullopt);
  EXPECT_EQ(clip::CanonicalClipName("encoder.block.0.layer.0.layer_norm.weight"), std::nullopt);
}

TEST(VaeNames, LoseTheirPrefix) {
  const std::string name = "decoder.up.3.block.2.norm1.weight";
  for (const char* prefix : {"", "first_stage_model.", "vae."}) {
    EXPECT_EQ(vae::CanonicalVaeName(prefix + name), name);
  }
  EXPECT_EQ(vae::CanonicalVaeName("first_stage_model.post_quant_conv.bias"),
            "post_quant_conv.bias");
  EXPECT_EQ(vae::CanonicalVaeName("encoder.block.0.layer.0.layer_norm.weight"), std::nullopt);
  EXPECT_EQ(vae::CanonicalVaeName("text_model.encoder.layers.0.mlp.fc1.bias"), std::nullopt);
}

TEST(VaeNames, TranslateThoseOfDiffusers) {
  const std::pair<const char*, const char*> pairs[] = {
      {"decoder.up_blocks.0.resnets.1.conv1.weight", "decoder.up.3.block.1.conv1.weight"},
      {"decoder.up_blocks.2.resnets.0.conv_shortcut.bias",
       "decoder.up.1.block.0.nin_shortcut.bias"},
      {"decoder.up_blocks.2.upsamplers.0.conv.weight", "decoder.up.1.upsample.conv.weight"},
      {"encoder.down_blocks.0.resnets.1.norm2.bias", "encoder.down.0.block.1.norm2.bias"},
      {"encoder.down_blocks.2.downsamplers.0.conv.bias", "encoder.down.2.downsample.conv.bias"},
      {"decoder.mid_block.resnets.0.conv1.bias", "decoder.mid.block_1.conv1.bias"},
      {"encoder.mid_block.resnets.1.conv1.bias", "encoder.mid.block_2.conv1.bias"},
      {"decoder.mid_block.attentions.0.group_norm.weight", "decoder.mid.attn_1.norm.weight"},
      {"decoder.mid_block.attentions.0.to_q.weight", "decoder.mid.attn_1.q.weight"},
      {"decoder.mid_block.attentions.0.to_out.0.bias", "decoder.mid.attn_1.proj_out.bias"},
      {"decoder.mid_block.attentions.0.proj_attn.bias", "decoder.mid.attn_1.proj_out.bias"},
      {"decoder.conv_norm_out.weight", "decoder.norm_out.weight"},
  };
  for (const auto& [diffusers, name] : pairs) EXPECT_EQ(vae::CanonicalVaeName(diffusers), name);
  EXPECT_EQ(vae::CanonicalVaeName("decoder.up_blocks.4.resnets.0.conv1.weight"), std::nullopt);
  EXPECT_EQ(vae::CanonicalVaeName("decoder.up_blocks."), std::nullopt);
  EXPECT_EQ(vae::CanonicalVaeName("decoder.mid_block.attentions.0.rotary.bias"), std::nullopt);
}

}  // namespace
}  // namespace ingot
