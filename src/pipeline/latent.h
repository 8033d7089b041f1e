// Latents of a Flux picture: [16, h, w] f32, and the patches that the transformer takes.
#pragma once

#include <cstdint>
#include <span>

namespace ingot {

struct LatentShape {
  int64_t channels, height, width;

  int64_t num_elements() const { return channels * height * width; }
  // Patches are 2x2; an odd side is padded by one row or column.
  int64_t patch_rows() const { return (height + 1) / 2; }
  int64_t patch_cols() const { return (width + 1) / 2; }
  int64_t num_patches() const { return patch_rows() * patch_cols(); }
};

// "c (h ph) (w pw) -> (h w) (c ph pw)"; the padding repeats the other side, as
// Forge does (circular). patches: [num_patches, channels * 4].
void Patchify(const LatentShape& shape, std::span<const float> latent, std::span<float> patches);

// The inverse; padding is cut off.
void Unpatchify(const LatentShape& shape, std::span<const float> patches, std::span<float> latent);

// img_ids of the reference: (0, row, column) of every patch. ids: [num_patches, 3].
void FillImageIds(const LatentShape& shape, std::span<float> ids);

}  // namespace ingot
