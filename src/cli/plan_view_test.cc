#include "cli/plan_view.h"

#include <gtest/gtest.h>

#include <sstream>

namespace ingot {
namespace {

constexpr int64_t kMiB = 1 << 20;

Plan SomePlan() {
  return {.phases = {{.name = "t5",
                      .arena_bytes = 20 * kMiB,
                      .ring_bytes = 90 * kMiB,
                      .run_bytes = 4823 * kMiB,
                      .streamed_bytes = 4823 * kMiB,
                      .predicted_s = 12.34,
                      .carried_bytes = 10 * kMiB},
                     {.name = "sampling",
                      .arena_bytes = 100 * kMiB,
                      .resident_bytes = 200 * kMiB,
                      .ring_bytes = 60 * kMiB,
                      .num_runs = 4,
                      .run_bytes = 4950 * kMiB,
                      .streamed_bytes = 20000 * kMiB,
                      .num_parts = 2,
                      .carried_bytes = 10 * kMiB},
                     {.name = "decode",
                      .arena_bytes = 80 * kMiB,
                      .num_parts = 8,
                      .carried_bytes = 10 * kMiB}},
          .fixed_bytes = 30 * kMiB,
          .num_steps = 4};
}

std::vector<std::string> Lines(const std::string& text) {
  std::vector<std::string> lines;
  std::istringstream stream(text);
  for (std::string line; std::getline(stream, line);) lines.push_back(line);
  return lines;
}

int64_t Count(const std::string& text, char mark) { return std::ranges::count(text, mark); }

TEST(ShowPlan, IsTableBarsAndSentences) {
  const Budget budget = {.ram_bytes = 500 * kMiB, .ram_limited_by = "--memory"};
  EXPECT_EQ(ShowPlan(SomePlan(), budget, 70),
            R"(phase        weights      ring      read activations    time
t5                 -  90.0 MiB  4.71 GiB    20.0 MiB  12.3 s
sampling     200 MiB  60.0 MiB  19.5 GiB     100 MiB       -
decode             -         -         -    80.0 MiB       -

t5        ....=========++                                      150 MiB
sampling  ....####################======++++++++++             400 MiB
decode    ....++++++++                                         120 MiB
          # weights  = ring  + activations  . process

peak 400 MiB of a budget of 500 MiB (--memory)
process 30.0 MiB, carried between phases up to 10.0 MiB
sampling sets the peak: 370 MiB of 400 MiB (92 %)
t5 streams 4.71 GiB through a ring of 90.0 MiB
sampling keeps 200 MiB of weights and streams 4.83 GiB in each of 4
  runs through a ring of 60.0 MiB
sampling in 2 chunks of tokens
decode in 8 strips
)");
}

TEST(ShowPlan, NoLineIsWiderThanTheTerminal) {
  const Budget budget = {.ram_bytes = 400 * kMiB, .ram_limited_by = "available RAM"};
  for (int columns : {60, 80, 97, 120}) {
    for (const std::string& line : Lines(ShowPlan(SomePlan(), budget, columns))) {
      EXPECT_LE(line.size(), static_cast<size_t>(columns)) << line;
    }
  }
}

TEST(ShowPlan, BarsHaveOneScaleAndTheLargestFillsTheWidthAtABudgetOfThePeak) {
  const Budget budget = {.ram_bytes = 400 * kMiB, .ram_limited_by = "--memory"};
  const std::vector<std::string> lines = Lines(ShowPlan(SomePlan(), budget, 120));
  EXPECT_EQ(Count(lines[6], '#'), 50);  // 100 columns are 400 MiB
  EXPECT_EQ(Count(lines[6], '=') + Count(lines[6], '+') + Count(lines[6], '.'), 50);
  EXPECT_EQ(Count(lines[7], '+'), 20);
}

TEST(ShowPlan, BudgetFarAboveThePeakDoesNotFlattenTheBars) {
  const Budget budget = {.ram_bytes = 64000 * kMiB, .ram_limited_by = "available RAM"};
  EXPECT_EQ(Count(Lines(ShowPlan(SomePlan(), budget, 120))[6], '#'), 50);
}

}  // namespace
}  // namespace ingot
