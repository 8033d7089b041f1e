// Convolutions of channels-last pictures: 3x3 by Winograd, all others as products of windows.
#pragma once

#include <cstddef>
#include <cstdint>

#include "base/thread_pool.h"
#include "devices/device.h"
#include "graph/op.h"

namespace ingot::cpu {

// Independent of the picture's size: 20 MiB of transformed filters at most (a convolution of more
// goes by groups of filters and transforms the picture for each: up to 5 % slower), and up to 11
// MiB a thread.
int64_t WorkspaceBytes(const op::Conv2d& op, const OpSignature& signature, size_t num_threads);

// x, residual and output in f32 or f16, weight in any type that IsWeightType, the others in f32.
//
// 3x3 of stride 1 goes by Winograd F(4x4, 3x3), on a grid of tiles that begins at row 0 of the
// output; `upsample` is then four convolutions of the small picture that share its transform. All
// other shapes, and pictures of 256 pixels or less, are products of windows.
//
// kF32 sums in f32, in one chain per product in the order of (kernel row, column, channel); kI16
// rounds both sides to int16 (conv_product-inl.h) and sums exactly. Relative error (rms, VAE
// shapes): 1e-6 and 3e-4 to 8e-4. A NaN or an infinity in x makes what depends on it NaN.
//
// An element does not depend on other tiles: not on strips, not on threads. A strip transforms the
// filters anew.
void Run(const op::Conv2d& op, const OpCall& call, ThreadPool& pool);

// Pictures whose pixels are further apart than their channels.
inline bool AcceptsRuns(const op::Conv2d& op, int input_idx) {
  return input_idx <= 0 || input_idx == op::OperandsOf(op).residual;
}
inline bool AcceptsStrips(const op::Conv2d&) { return true; }
inline int AliasOf(const op::Conv2d& op) { return op::OperandsOf(op).residual; }

}  // namespace ingot::cpu
