// Offsets of buffers in one arena, from their sizes and lifetimes.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace ingot {

// num_bytes rounded up to kTensorAlignment: what a tensor takes in an arena.
int64_t AlignedBytes(int64_t num_bytes);

// Live from the start of step `first_step` to the end of step `last_step`.
struct BufferLifetime {
  int64_t num_bytes = 0;
  int first_step = 0;
  int last_step = 0;
};

struct ArenaLayout {
  std::vector<int64_t> offsets;  // one a buffer, kTensorAlignment-aligned
  int64_t arena_bytes = 0;
  // Most bytes alive in one step: no layout can be smaller. arena_bytes over
  // this is the gap that is published with every plan.
  int64_t max_live_bytes = 0;
};

// The smaller of two layouts. Greedy by size (Pisarchyk & Lee 2020, arXiv
// 2001.03288): largest first, each at the lowest offset free during its whole
// life. By life: longest-lived first, each at the side of a gap where it touches
// others longest. The first closes the gap of encoders and VAE, the second that
// of a chain of transformer blocks (1.000 of the live bytes in place of 1.066).
// Buffers that live at the same time never overlap. Time O(n^2) in the worst
// case.
ArenaLayout LayOutArena(std::span<const BufferLifetime> buffers);

}  // namespace ingot
