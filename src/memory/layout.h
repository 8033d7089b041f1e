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

// Greedy (Pisarchyk & Lee 2020, arXiv 2001.03288): buffers one after the other, in four orders (by
// size, by steps alive, by their product, large ones by steps alive before the rest) and two ways
// (at the lowest offset free during the whole life; at the side of a gap where it touches others
// for the most steps), each tried again with the buffer in front that stood out highest. The first
// layout within 1 % of max_live_bytes, else the smallest. Buffers that live at the same time never
// overlap. Time O(n^2) a try in the worst case.
ArenaLayout LayOutArena(std::span<const BufferLifetime> buffers);

}  // namespace ingot
