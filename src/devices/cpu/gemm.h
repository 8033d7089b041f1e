// Sizes that linear and convolution share with the matrix product of gemm-inl.h.
#pragma once

#include <cstddef>

namespace ingot::cpu {

// One thread's work is a panel: this many columns of C for all rows of A.
inline constexpr size_t kPanelColumns = 128;

// K is walked in blocks, so that a panel of B stays in L2 (128 KiB). A multiple of every weight
// type's block.
inline constexpr size_t kBlockK = 256;

// Rows of the largest tile of C, and the stride of its copy of A. Rows of A lie a multiple of 4 KiB
// apart in most layers and would fight for one set of L1; the copy's stride is odd in cache lines.
inline constexpr size_t kMaxTileRows = 14;
inline constexpr size_t kTileStride = kBlockK + 16;

// What one thread needs beside its operands.
struct GemmScratch {
  alignas(64) float panel[kBlockK * kPanelColumns];    // B, packed
  alignas(64) float tile[kMaxTileRows * kTileStride];  // rows of A
  alignas(64) float rows[4 * kBlockK];                 // B on its way into the panel
};

}  // namespace ingot::cpu
