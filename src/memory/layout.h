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

// Greedy (Pisarchyk & Lee 2020, arXiv 2001.03288): one after the other, each at the lowest offset
// free during its whole life. The best of three orders (by size, by steps alive, by their product),
// each tried again with the buffer in front that stood out highest, until within 1 % of
// max_live_bytes. Buffers that live at the same time never overlap. Time O(n^2) a try in the worst
// case: 2,400 buffers of the 12B transformer take some milliseconds.
ArenaLayout LayOutArena(std::span<const BufferLifetime> buffers);

}  // namespace ingot
