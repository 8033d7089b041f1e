#include "pipeline/latent.h"

#include "base/check.h"

namespace ingot {
namespace {

// Calls body(patch element, latent index) for every element of every patch;
// `padding` tells that the pixel lies outside and wraps around.
template <typename Body>
void ForEachPatchElement(const LatentShape& s, const Body& body) {
  size_t element = 0;
  for (int64_t row = 0; row < s.patch_rows(); ++row) {
    for (int64_t col = 0; col < s.patch_cols(); ++col) {
      for (int64_t c = 0; c < s.channels; ++c) {
        for (int64_t k = 0; k < 4; ++k, ++element) {
          const int64_t y = 2 * row + k / 2, x = 2 * col + k % 2;
          const bool padding = y >= s.height || x >= s.width;
          const int64_t index = (c * s.height + y % s.height) * s.width + x % s.width;
          body(element, static_cast<size_t>(index), padding);
        }
      }
    }
  }
}

}  // namespace

void Patchify(const LatentShape& shape, std::span<const float> latent, std::span<float> patches) {
  INGOT_CHECK(latent.size() == static_cast<size_t>(shape.num_elements()));
  ForEachPatchElement(
      shape, [&](size_t element, size_t index, bool) { patches[element] = latent[index]; });
}

void Unpatchify(const LatentShape& shape, std::span<const float> patches, std::span<float> latent) {
  INGOT_CHECK(latent.size() == static_cast<size_t>(shape.num_elements()));
  ForEachPatchElement(shape, [&](size_t element, size_t index, bool padding) {
    if (!padding) latent[index] = patches[element];
  });
}

void FillImageIds(const LatentShape& shape, std::span<float> ids) {
  for (int64_t patch = 0; patch < shape.num_patches(); ++patch) {
    const auto at = static_cast<size_t>(patch) * 3;
    ids[at] = 0.0f;
    ids[at + 1] = static_cast<float>(patch / shape.patch_cols());
    ids[at + 2] = static_cast<float>(patch % shape.patch_cols());
  }
}

}  // namespace ingot
