// VaeConfig from the shapes of a checkpoint.
#include <string>

#include "models/sizes.h"
#include "models/vae/vae.h"

namespace ingot::vae {
namespace {

constexpr int kNumGroups = 32;
constexpr int kMaxLevels = 8;  // a latent pixel of 128x128; published VAEs have 4

// Channels of level `idx`, from the first convolution of its first block.
Result<int64_t> GetBlockOutChannels(const TensorTable& table, int idx) {
  const std::string name = fmt::format("decoder.up.{}.block.0.conv1.weight", idx);
  INGOT_ASSIGN_OR_RETURN(const Shape conv1, GetDimensions(table, name, 4));
  INGOT_RETURN_IF_ERROR(CheckMultiple(table, name, "channels", conv1[0], kNumGroups));
  return conv1[0];
}

}  // namespace

Result<VaeConfig> VaeConfigFromTensors(const TensorTable& table) {
  INGOT_ASSIGN_OR_RETURN(const Shape conv_in, GetDimensions(table, "decoder.conv_in.weight", 4));
  INGOT_ASSIGN_OR_RETURN(const int num_levels,
                         GetNumBlocks(table, "decoder.up", "block.0.conv1.weight"));
  INGOT_ASSIGN_OR_RETURN(const int num_blocks,
                         GetNumBlocks(table, "decoder.up.0.block", "conv1.weight"));
  if (num_levels > kMaxLevels) {
    return Corruption("{}: expected at most {} levels 'decoder.up', found {}", table.source(),
                      kMaxLevels, num_levels);
  }
  if (num_blocks < 2) {
    return Corruption("{}: expected tensor 'decoder.up.0.block.1.conv1.weight', found none",
                      table.source());
  }

  VaeConfig config;
  config.z_channels = conv_in[1];
  config.block_out_channels.clear();
  for (int i = 0; i < num_levels; ++i) {
    INGOT_ASSIGN_OR_RETURN(const int64_t channels, GetBlockOutChannels(table, i));
    config.block_out_channels.push_back(channels);
  }
  config.num_res_blocks = num_blocks - 1;  // the decoder has one more than the encoder
  config.quant_conv = table.Find("post_quant_conv.weight") != nullptr;
  const TensorInfo* q = table.Find("decoder.mid.attn_1.q.weight");
  config.linear_attn = q != nullptr && q->shape.rank() == 2;
  return config;
}

}  // namespace ingot::vae
