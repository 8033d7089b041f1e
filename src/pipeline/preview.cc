#include "pipeline/preview.h"

#include <algorithm>
#include <cmath>
#include <sstream>

#include "base/check.h"

namespace ingot {
namespace {

const LatentRgbFactors& FluxFactors() {
  static const LatentRgbFactors factors = {.rows = {{-0.0346f, 0.0244f, 0.0681f},
                                                    {0.0034f, 0.0210f, 0.0687f},
                                                    {0.0275f, -0.0668f, -0.0433f},
                                                    {-0.0174f, 0.0160f, 0.0617f},
                                                    {0.0859f, 0.0721f, 0.0329f},
                                                    {0.0004f, 0.0383f, 0.0115f},
                                                    {0.0405f, 0.0861f, 0.0915f},
                                                    {-0.0236f, -0.0185f, -0.0259f},
                                                    {-0.0245f, 0.0250f, 0.1180f},
                                                    {0.1008f, 0.0755f, -0.0421f},
                                                    {-0.0515f, 0.0201f, 0.0011f},
                                                    {0.0428f, -0.0012f, -0.0036f},
                                                    {0.0817f, 0.0765f, 0.0749f},
                                                    {-0.1264f, -0.0522f, -0.1103f},
                                                    {-0.0280f, -0.0881f, -0.0499f},
                                                    {-0.1262f, -0.0982f, -0.0778f}},
                                           .bias = {-0.0329f, -0.0718f, -0.0851f}};
  return factors;
}

}  // namespace

LatentRgbFactors ReadLatentRgbFactors(const Metadata& metadata, int64_t num_channels) {
  const std::string* text = metadata.FindString("ingot.latent_rgb_factors");
  if (text != nullptr) {
    LatentRgbFactors factors;
    std::istringstream in(*text);
    std::array<float, 3> row;
    while (in >> row[0] >> row[1] >> row[2]) factors.rows.push_back(row);
    if (in.eof() && factors.rows.size() == static_cast<size_t>(num_channels) + 1) {
      factors.bias = factors.rows.back();
      factors.rows.pop_back();
      return factors;
    }
  }
  LatentRgbFactors factors = FluxFactors();
  factors.rows.resize(static_cast<size_t>(num_channels));  // the rest say nothing: 0
  return factors;
}

void FillPreview(const LatentRgbFactors& factors, const LatentShape& shape,
                 std::span<const float> latent, std::span<uint8_t> pixels) {
  const auto num_pixels = static_cast<size_t>(shape.height * shape.width);
  INGOT_CHECK(latent.size() == factors.rows.size() * num_pixels);
  INGOT_CHECK(pixels.size() == num_pixels * 3);
  for (size_t i = 0; i < num_pixels; ++i) {
    std::array<float, 3> rgb = factors.bias;
    for (size_t c = 0; c < factors.rows.size(); ++c) {
      const float z = latent[c * num_pixels + i];
      for (size_t k = 0; k < 3; ++k) rgb[k] += z * factors.rows[c][k];
    }
    for (size_t k = 0; k < 3; ++k) {
      // NaN gives 0: std::max takes its first operand then.
      const float unit = std::min(std::max(0.0f, 0.5f * rgb[k] + 0.5f), 1.0f);
      pixels[i * 3 + k] = static_cast<uint8_t>(std::lrint(255.0f * unit));
    }
  }
}

}  // namespace ingot
