#include "memory/layout.h"

#include <gtest/gtest.h>

#include <random>

namespace ingot {
namespace {

TEST(LayOutArena, BuffersThatDieShareTheirBytes) {
  const std::vector<BufferLifetime> chain = {{1024, 0, 1}, {1024, 1, 2}, {1024, 2, 3}};
  const ArenaLayout layout = LayOutArena(chain);
  EXPECT_EQ(layout.arena_bytes, 2048);
  EXPECT_EQ(layout.max_live_bytes, 2048);
  EXPECT_EQ(layout.offsets[0], layout.offsets[2]);
}

TEST(LayOutArena, OffsetsAreAligned) {
  const std::vector<BufferLifetime> buffers = {{1, 0, 0}, {65, 0, 0}, {3, 0, 0}};
  const ArenaLayout layout = LayOutArena(buffers);
  for (int64_t offset : layout.offsets) EXPECT_EQ(offset % 64, 0);
  EXPECT_EQ(layout.arena_bytes, 64 + 128 + 64);
}

TEST(LayOutArena, LiveBuffersNeverOverlap) {
  std::mt19937 rng(1);
  for (int round = 0; round < 50; ++round) {
    std::vector<BufferLifetime> buffers;
    for (int i = 0; i < 100; ++i) {
      const int first = static_cast<int>(rng() % 50);
      buffers.push_back(
          {static_cast<int64_t>(rng() % 5000), first, first + static_cast<int>(rng() % 10)});
    }
    const ArenaLayout layout = LayOutArena(buffers);
    EXPECT_GE(layout.arena_bytes, layout.max_live_bytes);
    for (size_t a = 0; a < buffers.size(); ++a) {
      EXPECT_LE(layout.offsets[a] + buffers[a].num_bytes, layout.arena_bytes);
      for (size_t b = 0; b < a; ++b) {
        const bool live_together = buffers[a].first_step <= buffers[b].last_step &&
                                   buffers[b].first_step <= buffers[a].last_step;
        const bool overlap = layout.offsets[a] < layout.offsets[b] + buffers[b].num_bytes &&
                             layout.offsets[b] < layout.offsets[a] + buffers[a].num_bytes;
        EXPECT_FALSE(live_together && overlap) << a << " " << b;
      }
    }
  }
}

}  // namespace
}  // namespace ingot
