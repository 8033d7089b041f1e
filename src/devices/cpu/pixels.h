// Pixels of pictures [B, h, w, C] in memory, and the group norm folded into factors of channels.
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>

#include "tensor/view.h"

namespace ingot::cpu {

// Pixels one behind the other, `stride` elements apart, in f32 or f16.
template <typename Byte>
struct BasicPixels {
  Byte* data = nullptr;
  bool is_f16 = false;
  size_t stride = 0;
};
using Pixels = BasicPixels<const std::byte>;
using MutablePixels = BasicPixels<std::byte>;

inline Pixels PixelsOf(const ConstTensorView& picture) {
  return {picture.data, picture.dtype == DType::kF16,
          static_cast<size_t>(picture.RowStride(picture.shape.back()))};
}
inline MutablePixels PixelsOf(const TensorView& picture) {
  return {picture.data, picture.dtype == DType::kF16,
          static_cast<size_t>(picture.RowStride(picture.shape.back()))};
}

// Group norm of channel c of one picture: (x - mean[c]) * scale[c] + shift[c].
struct ChannelNorm {
  float* mean;
  float* scale;
  float* shift;
};

// stats [num_groups, 2] as GroupNormStats has them, weight and bias [num_channels].
inline void FoldGroupNorm(const float* stats, size_t num_groups, const float* weight,
                          const float* bias, size_t num_channels, const ChannelNorm& norm) {
  for (size_t c = 0; c < num_channels; ++c) {
    const float* group = stats + c / (num_channels / num_groups) * 2;
    norm.mean[c] = group[0];
    norm.scale[c] = group[1] * weight[c];
    norm.shift[c] = bias[c];
  }
}

}  // namespace ingot::cpu
