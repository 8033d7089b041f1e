#include "engine/refusal.h"

#include <gtest/gtest.h>

namespace ingot {
namespace {

constexpr int64_t kMiB = 1 << 20;

// 100 MiB, and 16 bytes a pixel of all pictures: 1024x1024 is 16 MiB.
Result<int64_t> Peak(const JobShape& job) {
  return 100 * kMiB + int64_t{16} * job.width * job.height * job.batch;
}

Status Refuse(const JobShape& job, int64_t budget_bytes) {
  return RefuseJob(job, *Peak(job), {.ram_bytes = budget_bytes, .ram_limited_by = "--memory"},
                   Peak);
}

// What the message offers, or all of it if it offers nothing.
std::string Offer(const Status& status) {
  return status.message().substr(status.message().find("cheapest first: ") + 16);
}

TEST(RefuseJob, ShortfallIsNamedToTheByte) {
  const Status status = Refuse({1024, 1024, 1}, 116 * kMiB - 1);
  EXPECT_EQ(status.code(), StatusCode::kOutOfBudget);
  EXPECT_EQ(
      status.message(),
      "memory: expected a plan of at most 121634815 bytes (--memory), found one of 121634816: "
      "1 bytes short; what would fit, the cheapest first: --memory 116MiB, or --size 960x960");
}

TEST(RefuseJob, OnePictureAtATimeIsTheCheapestChange) {
  EXPECT_EQ(Offer(Refuse({1024, 1024, 4}, 120 * kMiB)),
            "--batch 1, or --memory 164MiB, or --size 512x512");
}

TEST(RefuseJob, SizeKeepsItsProportions) {
  EXPECT_EQ(Offer(Refuse({1536, 768, 1}, 101 * kMiB)), "--memory 118MiB, or --size 320x160");
}

TEST(RefuseJob, SizeAndBatchGoTogetherWhereNeitherAloneDoes) {
  const JobShape small = {64, 64, 1};  // 64 KiB of pixels
  EXPECT_EQ(Offer(Refuse({1024, 1024, 64}, *Peak(small))),
            "--memory 1124MiB, or --size 64x64 --batch 1");
}

TEST(RefuseJob, BudgetAloneHelpsWhereNoSizeDoes) {
  EXPECT_EQ(Offer(Refuse({1024, 1024, 1}, 100 * kMiB)), "--memory 116MiB");
}

TEST(RefuseJob, EveryOfferFits) {
  for (int side : {72, 640, 1000, 2048}) {
    const JobShape job = {side, side + 8, 1};
    const int64_t budget = *Peak(job) - 1;
    const std::string offer = Offer(Refuse(job, budget));
    JobShape offered;
    ASSERT_EQ(std::sscanf(offer.substr(offer.find("--size")).c_str(), "--size %dx%d",
                          &offered.width, &offered.height),
              2)
        << offer;
    EXPECT_LE(*Peak(offered), budget);
  }
}

TEST(RefuseJob, MachineWithoutAFlagIsNamed) {
  const Budget machine = {.ram_bytes = 50 * kMiB, .ram_limited_by = "memory limit of cgroup /a"};
  EXPECT_EQ(Offer(RefuseJob({1024, 1024, 1}, 116 * kMiB, machine, Peak)),
            "116 MiB of memory limit of cgroup /a");
}

TEST(RefuseJob, FaultOfAPlanIsReturned) {
  const Status status = RefuseJob({1024, 1024, 1}, 2, {.ram_bytes = 1}, [](const JobShape&) {
    return Result<int64_t>(Corruption("x.gguf: damaged"));
  });
  EXPECT_EQ(status.code(), StatusCode::kCorruption);
}

}  // namespace
}  // namespace ingot
