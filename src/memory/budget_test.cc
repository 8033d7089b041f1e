#include "memory/budget.h"

#include <gtest/gtest.h>

#include <limits>

namespace ingot {
namespace {

constexpr int64_t kMiB = 1 << 20;
const UsableMemory kMachine = {.num_bytes = 4096 * kMiB, .limited_by = "available RAM"};

TEST(Budget, WithoutFlagsItIsWhatTheMachineHasFree) {
  const Budget budget = MakeBudget({}, kMachine, 2048 * kMiB);
  EXPECT_EQ(budget.ram_bytes, 4096 * kMiB);
  EXPECT_EQ(budget.ram_limited_by, "available RAM");
  EXPECT_EQ(budget.vram_bytes, 2048 * kMiB);
}

TEST(Budget, FlagsAreTakenAsTheyAre) {
  const BudgetFlags flags = {.memory_bytes = 512 * kMiB, .vram_bytes = 256 * kMiB};
  const Budget budget = MakeBudget(flags, kMachine, 2048 * kMiB);
  EXPECT_EQ(budget.ram_bytes, 512 * kMiB);
  EXPECT_EQ(budget.ram_limited_by, "--memory");
  EXPECT_EQ(budget.vram_bytes, 256 * kMiB);
}

TEST(Budget, DeviceThatComputesInRamHasNoVram) {
  EXPECT_EQ(MakeBudget({.vram_bytes = 256 * kMiB}, kMachine, std::nullopt).vram_bytes, 0);
}

TEST(Budget, OfThisMachineIsWhatItsUsableMemorySays) {
  const Result<Budget> budget = ReadBudget({}, std::nullopt);
  ASSERT_TRUE(budget.ok()) << budget.status().message();
  EXPECT_GT(budget->ram_bytes, kMiB);
  EXPECT_NE(budget->ram_limited_by, "--memory");
}

TEST(ReservedForCompute, IsTheHintBetweenTheNeedAndTheTier) {
  EXPECT_EQ(ReservedForCompute(1024, 200 * kMiB, 4096 * kMiB), 1024 * kMiB);
  EXPECT_EQ(ReservedForCompute(100, 200 * kMiB, 4096 * kMiB), 200 * kMiB);
  EXPECT_EQ(ReservedForCompute(8192, 200 * kMiB, 4096 * kMiB), 4096 * kMiB);
}

TEST(ReservedForCompute, WithoutAHintIsTheNeed) {
  EXPECT_EQ(ReservedForCompute(std::nullopt, 200 * kMiB, 4096 * kMiB), 200 * kMiB);
}

TEST(ReservedForCompute, AnyNumberGivesAPlanThatFits) {
  for (int64_t hint : {std::numeric_limits<int64_t>::min(), int64_t{-1}, int64_t{0},
                       std::numeric_limits<int64_t>::max()}) {
    const int64_t reserved = ReservedForCompute(hint, 200 * kMiB, 4096 * kMiB + 1);
    EXPECT_GE(reserved, 200 * kMiB) << hint;
    EXPECT_LE(reserved, 4096 * kMiB + 1) << hint;
  }
}

}  // namespace
}  // namespace ingot
