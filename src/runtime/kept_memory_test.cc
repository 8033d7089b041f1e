#include "runtime/kept_memory.h"

#include <gtest/gtest.h>

#include "devices/fake_device.h"

namespace ingot {
namespace {

class KeptMemoryTest : public testing::Test {
 protected:
  void Keep(const std::string& key, int64_t num_bytes) {
    kept_.KeepWeights(key, *device_.Allocate(num_bytes, {}));
  }
  bool Has(const std::string& key) {
    std::unique_ptr<Arena> weights = kept_.TakeWeights(key);
    const bool has = weights != nullptr;
    if (has) kept_.KeepWeights(key, std::move(weights));
    return has;
  }
  FakeDevice device_{FakeDeviceOptions{}};
  KeptMemory kept_;
};

TEST_F(KeptMemoryTest, WhatIsTakenIsNoLongerKept) {
  Keep("a", 100);
  EXPECT_EQ(kept_.num_bytes(), 100);
  EXPECT_EQ(kept_.TakeWeights("b"), nullptr);
  EXPECT_NE(kept_.TakeWeights("a"), nullptr);
  EXPECT_EQ(kept_.TakeWeights("a"), nullptr);
  EXPECT_EQ(kept_.num_bytes(), 0);
}

TEST_F(KeptMemoryTest, RowsCountTheirBytes) {
  kept_.KeepRows("rows", {{1, 2, 3}, {4}});
  EXPECT_EQ(kept_.num_bytes(), 16);
  EXPECT_EQ(kept_.TakeRows("rows"), (KeptMemory::Rows{{1, 2, 3}, {4}}));
}

TEST_F(KeptMemoryTest, OtherJobsGoFirstAndTheOldestOfThemBeforeAll) {
  Keep("old", 50);
  Keep("mine", 50);
  Keep("other", 50);
  const std::string job[] = {"mine"};
  kept_.MakeRoom(100, job, "");
  EXPECT_FALSE(Has("old"));
  EXPECT_TRUE(Has("mine") && Has("other"));
  kept_.MakeRoom(50, job, "");
  EXPECT_TRUE(Has("mine"));
  EXPECT_FALSE(Has("other"));
}

TEST_F(KeptMemoryTest, OfOneJobTheSmallestThatIsEnoughGoes) {
  Keep("large", 500);
  Keep("middle", 60);
  Keep("small", 20);
  const std::string job[] = {"large", "middle", "small"};
  kept_.MakeRoom(540, job, "");  // 40 too many
  EXPECT_TRUE(Has("large") && Has("small"));
  EXPECT_FALSE(Has("middle"));
  kept_.MakeRoom(100, job, "");
  EXPECT_FALSE(Has("large"));
  EXPECT_TRUE(Has("small"));
}

TEST_F(KeptMemoryTest, WhatIsTakenNextIsNeitherCountedNorDropped) {
  Keep("now", 500);
  Keep("later", 60);
  const std::string job[] = {"now", "later"};
  kept_.MakeRoom(60, job, "now");
  EXPECT_TRUE(Has("now") && Has("later"));
  kept_.MakeRoom(-1, job, "now");
  EXPECT_TRUE(Has("now"));
  EXPECT_FALSE(Has("later"));
}

TEST_F(KeptMemoryTest, ForgetGivesAllBack) {
  Keep("a", 100);
  kept_.Forget();
  EXPECT_EQ(kept_.num_bytes(), 0);
  EXPECT_EQ(device_.UsedBytes(), 0);
}

}  // namespace
}  // namespace ingot
