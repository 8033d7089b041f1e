#include "memory/planner.h"

#include <gtest/gtest.h>

namespace ingot {
namespace {

// Ten weights of 64 KiB, each used by one step.
std::vector<WeightUse> TenWeights() {
  std::vector<WeightUse> uses;
  for (int i = 0; i < 10; ++i) {
    uses.push_back(
        {.num_bytes = 64 << 10, .file_bytes = 64 << 10, .first_step = i, .last_step = i});
  }
  return uses;
}

class ChooseWayTest : public testing::Test {
 protected:
  PhaseWay Way(int64_t arena_bytes, int64_t num_runs) const {
    return {.arena_bytes = arena_bytes, .uses = uses_, .num_runs = num_runs};
  }
  const std::vector<WeightUse> uses_ = TenWeights();
  const int64_t least_ = LeastBytes(uses_), good_ = DoubleBufferedBytes(uses_),
                all_ = AllResidentBytes(uses_);
};

TEST_F(ChooseWayTest, WeightsThatAreReadAgainTakeWhatIsLeft) {
  const PhaseWay way = Way(1000, 4);
  EXPECT_EQ(ChooseWay({&way, 1}, 1000 + good_ + 5000)->weight_bytes, good_ + 5000);
  EXPECT_EQ(ChooseWay({&way, 1}, 1 << 30)->weight_bytes, all_);
}

TEST_F(ChooseWayTest, WeightsThatAreReadOnceTakeTwoSlots) {
  const PhaseWay way = Way(1000, 1);
  EXPECT_EQ(ChooseWay({&way, 1}, 1 << 30)->weight_bytes, good_);
}

TEST_F(ChooseWayTest, TheFirstWayThatHidesItsReadsWins) {
  const std::vector<PhaseWay> ways = {Way(4'000'000, 1), Way(1'000'000, 1), Way(10, 1)};
  EXPECT_EQ(ChooseWay(ways, 4'000'000 + good_)->way, 0u);
  EXPECT_EQ(ChooseWay(ways, 4'000'000 + good_ - 1)->way, 1u);
  EXPECT_EQ(ChooseWay(ways, 1'000'000 + good_ - 1)->way, 2u);
}

TEST_F(ChooseWayTest, ReadsThatComputeWaitsForAreTheLastResort) {
  const std::vector<PhaseWay> ways = {Way(1'000'000, 1), Way(10, 1)};
  const PhaseChoice choice = *ChooseWay(ways, 10 + least_);
  EXPECT_EQ(choice.way, 1u);
  EXPECT_EQ(choice.weight_bytes, least_);
}

TEST_F(ChooseWayTest, ARefusalNamesWhatIsShort) {
  const PhaseWay way = Way(1000, 1);
  const Status status = ChooseWay({&way, 1}, 1000 + least_ - 7).status();
  EXPECT_EQ(status.code(), StatusCode::kOutOfBudget);
  EXPECT_NE(status.message().find("7 bytes short"), std::string::npos) << status.message();
}

}  // namespace
}  // namespace ingot
