// Schedules equal to those of Forge's modules/sd_schedulers.py, run in f64 with scipy's beta.ppf.
#include <gtest/gtest.h>

#include "golden.h"
#include "sampling/schedule.h"

namespace ingot {
namespace {

TEST(ScheduleGolden, EverySchedulerIsForges) {
  const nlohmann::json cases = ReadGolden("schedules.json");
  ASSERT_EQ(cases.size(), Schedulers().size() * 2 * 3);  // two mu, three numbers of steps
  for (const nlohmann::json& row : cases) {
    const std::string what = row["scheduler"].get<std::string>() + " " + row["steps"].dump();
    const Result<const Scheduler*> scheduler = FindScheduler(row["scheduler"].get<std::string>());
    ASSERT_TRUE(scheduler.ok()) << what;
    const auto sigmas = MakeSigmas(**scheduler, {.mu = row["mu"]}, row["steps"]);
    ASSERT_TRUE(sigmas.ok()) << sigmas.status().message();
    const std::vector<double> expected = row["sigmas"];
    ASSERT_EQ(sigmas->size(), expected.size()) << what;
    for (size_t i = 0; i < expected.size(); ++i) {
      // Two roundings to f32 at sigma 1, Forge's and ours, are 1.2e-7.
      EXPECT_NEAR((*sigmas)[i], expected[i], 1.5e-7) << what << " step " << i;
    }
  }
}

}  // namespace
}  // namespace ingot
