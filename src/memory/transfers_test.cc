#include "memory/transfers.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>

namespace ingot {
namespace {

struct Uses {
  std::vector<WeightUse> uses;
  int num_steps = 0;
};

// Weights of 6 KiB to 35 MiB; most die at once, some live on for a few steps.
Uses RandomUses(std::mt19937& random) {
  Uses run;
  run.num_steps = 1 + static_cast<int>(random() % 60);
  for (int step = 0; step < run.num_steps; ++step) {
    for (uint32_t i = random() % 3; i > 0; --i) {
      const bool is_small = random() % 2 == 0;
      const int64_t bytes = is_small ? 64 * (1 + random() % 400) : 4096 * (1 + random() % 9000);
      const int life = random() % 5 == 0 ? static_cast<int>(random() % 6) : 0;
      run.uses.push_back({.num_bytes = bytes,
                          .alignment = is_small ? kTensorAlignment : kPageBytes,
                          .file_bytes = bytes,
                          .first_step = step,
                          .last_step = std::min(step + life, run.num_steps - 1)});
    }
  }
  return run;
}

TransferPlan Planned(const Uses& run, int64_t num_runs, int64_t num_bytes) {
  const Result<TransferPlan> plan = PlanTransfers(
      {.uses = run.uses, .num_steps = run.num_steps, .num_runs = num_runs, .num_bytes = num_bytes});
  EXPECT_TRUE(plan.ok()) << plan.status().message();
  return *plan;
}

// Follows the schedule with the most eager reader and the laziest, and looks at every step whether
// its weights lie whole where they should.
void ExpectFollowable(const Uses& run, const TransferPlan& plan, bool eager) {
  ASSERT_EQ(plan.loads.size(), run.uses.size());
  struct Written {
    bool resident;
    int64_t begin, end;
    size_t weight;
  };
  std::vector<Written> memory;
  const auto is_whole = [&](size_t i) {
    const int64_t begin = plan.loads[i].offset, end = begin + run.uses[i].num_bytes;
    return std::ranges::any_of(memory, [&](const Written& written) {
      return written.weight == i && written.begin == begin && written.end == end;
    });
  };
  const auto load = [&](size_t i) {
    const int64_t begin = plan.loads[i].offset, end = begin + run.uses[i].num_bytes;
    ASSERT_GE(begin, 0);
    ASSERT_LE(end, plan.loads[i].resident ? plan.resident_bytes : plan.ring_bytes);
    ASSERT_EQ(begin % run.uses[i].alignment, 0);
    const bool resident = plan.loads[i].resident;
    std::erase_if(memory, [&](const Written& w) {
      return w.resident == resident && w.begin < end && begin < w.end;
    });
    memory.push_back({resident, begin, end, i});
  };
  constexpr int kRuns = 3;
  const auto num_loads = static_cast<int64_t>(plan.loads.size());
  int64_t next = 0;  // load of all runs
  for (int64_t step = 0; step < kRuns * plan.num_steps; ++step) {
    const int64_t now_run = step / plan.num_steps;
    const int in_run = static_cast<int>(step % plan.num_steps);
    const int64_t needed = now_run * num_loads + plan.num_loads_before[static_cast<size_t>(in_run)];
    for (; next < kRuns * num_loads && (eager || next < needed); ++next) {
      const int64_t load_run = next / num_loads;
      const auto i = static_cast<size_t>(next % num_loads);
      if (plan.loads[i].resident) {
        if (load_run == 0) load(i);
        continue;
      }
      if (load_run * plan.num_steps + plan.loads[i].start_after >= step) break;
      load(i);
    }
    ASSERT_GE(next, needed) << "deadlock at step " << step;
    for (size_t i = 0; i < run.uses.size(); ++i) {
      if (run.uses[i].first_step <= in_run && in_run <= run.uses[i].last_step) {
        ASSERT_TRUE(is_whole(i)) << "weight " << i << " step " << step;
      }
    }
  }
}

TEST(PlanTransfers, NoLiveWeightIsOverwrittenAndNoReaderWaitsForItself) {
  std::mt19937 random(1);
  for (int round = 0; round < 300; ++round) {
    const Uses run = RandomUses(random);
    const int64_t least = LeastBytes(run.uses), all = AllResidentBytes(run.uses);
    ASSERT_LE(least, all);
    for (int64_t bytes : {least, least + 4096, least + least / 3, 2 * least, 3 * least, all - 1,
                          all, 2 * all, least + static_cast<int64_t>(random() % 1000) * 12288}) {
      if (bytes < least) continue;
      for (int64_t num_runs : {1, 4}) {
        const TransferPlan plan = Planned(run, num_runs, bytes);
        ASSERT_LE(plan.num_bytes(), bytes);
        for (bool eager : {false, true}) {
          ExpectFollowable(run, plan, eager);
          if (HasFatalFailure()) return;
        }
      }
    }
  }
}

TEST(PlanTransfers, LeastOfLivesOfOneStepIsTheLargestSlab) {
  const std::vector<WeightUse> uses = {{4096, 4096, 4096, 0, 0},
                                       {8192, 4096, 8192, 1, 1},
                                       {64, 64, 64, 1, 1},
                                       {4096, 4096, 4096, 2, 2}};
  EXPECT_EQ(LeastBytes(uses), 3 * 4096);
  EXPECT_EQ(AllResidentBytes(uses), 5 * 4096);
}

TEST(PlanTransfers, OneByteBelowTheLeastIsRefusedByName) {
  std::mt19937 random(2);
  const Uses run = RandomUses(random);
  const auto plan = PlanTransfers({.uses = run.uses,
                                   .num_steps = run.num_steps,
                                   .num_runs = 1,
                                   .num_bytes = LeastBytes(run.uses) - 1});
  EXPECT_EQ(plan.status().code(), StatusCode::kOutOfBudget);
  EXPECT_NE(plan.status().message().find(std::to_string(LeastBytes(run.uses))), std::string::npos);
}

TEST(PlanTransfers, WithRoomForAllARepeatedRunReadsOnceAndASingleRunHoldsADoubleBuffer) {
  std::mt19937 random(3);
  const Uses run = RandomUses(random);
  const int64_t all = AllResidentBytes(run.uses);
  const TransferPlan repeated = Planned(run, 2, all);
  EXPECT_EQ(repeated.ring_bytes, 0);
  EXPECT_TRUE(std::ranges::all_of(repeated.loads, &TransferPlan::Load::resident));
  EXPECT_LE(Planned(run, 1, all).num_bytes(), DoubleBufferedBytes(run.uses));
}

// 40 equal weights, a step each.
Uses Uniform() {
  Uses run;
  run.num_steps = 40;
  for (int i = 0; i < 40; ++i) run.uses.push_back({1 << 20, kPageBytes, 1 << 20, i, i});
  return run;
}

TEST(HoldInRam, TakesOfWhatIsReadAgainEvenlyAndNoMoreThanItsBytes) {
  constexpr int64_t kBytes = 1 << 20;
  Uses run;
  run.num_steps = 40;
  for (int step = 0; step < run.num_steps; ++step) {
    run.uses.push_back({.num_bytes = kBytes,
                        .alignment = kPageBytes,
                        .file_bytes = kBytes,
                        .first_step = step,
                        .last_step = step,
                        .held_bytes = kBytes + kPageBytes});
  }
  TransferPlan plan = Planned(run, 4, 12 * kBytes);  // two in the ring, ten resident
  for (const int64_t num_held : {0, 10, 15, 30, 99}) {
    const int64_t num_bytes = num_held * (kBytes + kPageBytes) + 17;
    HoldInRam(run.uses, num_bytes, plan);
    EXPECT_EQ(plan.held_bytes, std::min<int64_t>(num_held, 30) * (kBytes + kPageBytes));
    int64_t next = 0, num_read = 0;
    for (const TransferPlan::Load& load : plan.loads) {
      if (load.held_offset < 0) {
        num_read += load.resident ? 0 : 1;
        EXPECT_LE(num_read, num_held >= 15 ? 2 : 30);  // one after the other
        continue;
      }
      EXPECT_FALSE(load.resident);
      EXPECT_EQ(load.held_offset, next);
      next += kBytes + kPageBytes;
      num_read = 0;
    }
  }
}

TEST(PredictTransfers, WhatIsHeldInRamTakesTheLinkAlone) {
  Uses run;
  run.num_steps = 4;
  for (int step = 0; step < run.num_steps; ++step) {
    run.uses.push_back({.num_bytes = 1 << 20,
                        .alignment = kPageBytes,
                        .file_bytes = 1 << 20,
                        .first_step = step,
                        .last_step = step,
                        .held_bytes = 1 << 20});
  }
  TransferPlan plan = Planned(run, 3, 2 << 20);
  HoldInRam(run.uses, 4 << 20, plan);
  const std::vector<double> step_s(4, 0.0);
  // Four reads of a second in the first run, four copies of an eighth in each of the others.
  EXPECT_NEAR(PredictTransfers(plan, run.uses, step_s, {1 << 20}, {8 << 20}).seconds, 5, 1e-9);
}

TEST(PredictTransfers, ADoubleBufferOverlapsReadsWithSteps) {
  const Uses run = Uniform();
  const TransferPlan plan = Planned(run, 1, DoubleBufferedBytes(run.uses));
  for (double step : {0.5, 1.0, 2.0}) {
    const std::vector<double> step_s(40, step);
    const TransferTimes times = PredictTransfers(plan, run.uses, step_s, {1 << 20});
    EXPECT_NEAR(times.stall_free_s, 40 * std::max(step, 1.0) + 1, 1e-9);
    EXPECT_LE(times.seconds, times.stall_free_s + 1e-9);
    EXPECT_NEAR(times.stalled_s, times.seconds - 40 * step, 1e-9);
  }
  const TransferPlan single = Planned(run, 1, LeastBytes(run.uses));
  const std::vector<double> step_s(40, 1.0);
  EXPECT_NEAR(PredictTransfers(single, run.uses, step_s, {1 << 20}).seconds, 80, 1e-9);
}

TEST(PredictTransfers, AThousandRunsTakeWhatTheTenthTakesEach) {
  std::mt19937 random(4);
  for (int i = 0; i < 20; ++i) {
    const Uses run = RandomUses(random);
    std::vector<double> step_s;
    for (int step = 0; step < run.num_steps; ++step) {
      step_s.push_back(static_cast<double>(random() % 100) / 100);
    }
    const int64_t least = LeastBytes(run.uses), all = AllResidentBytes(run.uses);
    const int64_t num_bytes = least + (all - least) * (i % 4) / 4;
    const auto predicted = [&](int64_t num_runs) {
      return PredictTransfers(Planned(run, num_runs, num_bytes), run.uses, step_s, {1 << 17});
    };
    const double each = (predicted(40).seconds - predicted(20).seconds) / 20;
    EXPECT_NEAR(predicted(1000).seconds, predicted(40).seconds + 960 * each, 1e-6 * 1000 * each);
  }
}

TEST(PredictTransfers, ResidentsAreSpreadSoThatTheLinkNeverIdlesBehindAFullRing) {
  const Uses run = Uniform();
  const TransferPlan plan = Planned(run, 10, 22 << 20);  // half of it resident
  EXPECT_EQ(plan.resident_bytes, 20 << 20);
  const std::vector<double> step_s(40, 0.5);  // reads of a run 20 s, steps 20 s
  const TransferTimes times = PredictTransfers(plan, run.uses, step_s, {1 << 20});
  EXPECT_LE(times.seconds, 1.02 * times.stall_free_s);
}

}  // namespace
}  // namespace ingot
