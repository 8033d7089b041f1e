#include "memory/explain.h"

#include <gtest/gtest.h>

namespace ingot {
namespace {

using Sentences = std::vector<std::string>;

constexpr int64_t kMiB = 1 << 20;

TEST(ExplainPlan, SaysWhatStreamsWhatIsHoistedAndWhatIsCut) {
  const Plan plan = {
      .phases = {{.name = "t5", .ring_bytes = 90 * kMiB, .run_bytes = 4823 * kMiB},
                 {.name = "hoist", .resident_bytes = 1716 * kMiB, .streamed_bytes = 1716 * kMiB},
                 {.name = "sampling",
                  .resident_bytes = 2048 * kMiB,
                  .ring_bytes = 64 * kMiB,
                  .num_runs = 4,
                  .run_bytes = 1024 * kMiB,
                  .num_parts = 4},
                 {.name = "decode", .arena_bytes = 80 * kMiB, .num_parts = 8}},
      .fixed_bytes = 88 * kMiB,
      .num_steps = 4};
  EXPECT_EQ(ExplainPlan(plan),
            (Sentences{
                "sampling sets the peak: 2.06 GiB of 2.15 GiB (96 %)",
                "t5 streams 4.71 GiB through a ring of 90.0 MiB",
                "hoist computes what no step changes for all 4 steps; its 1.68 GiB of weights then "
                "leave memory",
                "sampling keeps 2.00 GiB of weights and streams 1.00 GiB in each of 4 runs through "
                "a ring of 64.0 MiB",
                "sampling in 4 chunks of tokens", "decode in 8 strips"}));
}

TEST(ExplainPlan, GroupsOfStepsAreNamed) {
  const Plan plan = {.phases = {{.name = "hoist", .streamed_bytes = kMiB, .num_parts = 5}},
                     .fixed_bytes = kMiB,
                     .num_steps = 50};
  EXPECT_EQ(ExplainPlan(plan)[1],
            "hoist computes what no step changes for 50 steps in 5 groups; its 1.00 MiB of "
            "weights then leave memory");
}

TEST(ExplainPlan, WhatComesFromRamIsNamed) {
  const Plan plan = {.phases = {{.name = "sampling",
                                 .ring_bytes = 64 * kMiB,
                                 .num_runs = 4,
                                 .run_bytes = 1024 * kMiB,
                                 .vram_bytes = 100 * kMiB,
                                 .host_bytes = 600 * kMiB,
                                 .held_bytes = 512 * kMiB}}};
  EXPECT_EQ(ExplainPlan(plan)[1],
            "sampling streams 1.00 GiB in each of 4 runs through a ring of 64.0 MiB; 512 MiB of "
            "that stay in RAM");
}

TEST(ExplainPlan, SaysWhenNothingStreams) {
  const Plan plan = {.phases = {{.name = "clip", .resident_bytes = kMiB, .streamed_bytes = kMiB}}};
  EXPECT_EQ(ExplainPlan(plan), (Sentences{"clip sets the peak: 1.00 MiB of 1.00 MiB (100 %)",
                                          "all weights of a phase are in memory while it runs"}));
}

TEST(ExplainPlan, APlanWithoutPhasesHasNothingToSay) { EXPECT_TRUE(ExplainPlan({}).empty()); }

}  // namespace
}  // namespace ingot
