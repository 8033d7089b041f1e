// A latent as a small picture, without the VAE: good enough to see where a job goes.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <vector>

#include "formats/metadata.h"
#include "pipeline/latent.h"

namespace ingot {

// RGB in [-1, 1] of one latent pixel z: bias + sum over channels c of z[c] * rows[c].
struct LatentRgbFactors {
  std::vector<std::array<float, 3>> rows;  // one a channel
  std::array<float, 3> bias = {};
};

// Those of the file's metadata "ingot.latent_rgb_factors" (num_channels + 1 rows of three numbers
// with spaces between, the bias last); else those of FLUX.1's VAE, fitted by ComfyUI
// (latent_formats.py). A file's malformed ones are as absent: they change no picture.
LatentRgbFactors ReadLatentRgbFactors(const Metadata& metadata, int64_t num_channels);

// An eighth of the picture's width and height.
struct Preview {
  int width = 0, height = 0;
  std::span<const uint8_t> pixels;  // RGB8 [height, width, 3]
};

// pixels: [height, width, 3] of the latent's.
void FillPreview(const LatentRgbFactors& factors, const LatentShape& shape,
                 std::span<const float> latent, std::span<uint8_t> pixels);

}  // namespace ingot
