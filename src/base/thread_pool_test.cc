#include "base/thread_pool.h"

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <thread>

namespace ingot {
namespace {

TEST(ThreadPool, RunsEveryItemOnceAtAnyThreadCount) {
  for (size_t num_threads : {1, 2, 5}) {
    ThreadPool pool(num_threads);
    for (size_t num_items : {0, 1, 2, 7, 1000}) {
      std::vector<std::atomic<int>> counts(num_items);
      pool.ParallelFor(num_items, [&](size_t item, size_t thread_idx) {
        ASSERT_LT(thread_idx, num_threads);
        ++counts[item];
      });
      for (const auto& count : counts) EXPECT_EQ(count, 1);
    }
  }
}

TEST(ThreadPool, LoopsFollowEachOtherWhetherTheThreadsSleepOrSpin) {
  ThreadPool pool(3);
  for (int loop = 0; loop < 3000; ++loop) {
    if (loop % 1000 == 0) std::this_thread::sleep_for(std::chrono::milliseconds(2));
    std::atomic<size_t> sum = 0;
    pool.ParallelFor(5, [&sum](size_t item, size_t) { sum += item; });
    ASSERT_EQ(sum, 10u);
  }
}

TEST(ThreadPool, LeavesOutTheItemsThatAreLeftWhenTheStopIsRequested) {
  for (size_t num_threads : {1, 3}) {
    ThreadPool pool(num_threads);
    std::stop_source source;
    pool.set_stop(source.get_token());
    std::atomic<size_t> num_run = 0;
    pool.ParallelFor(1000, [&](size_t item, size_t) {
      if (item == 10) source.request_stop();
      ++num_run;
    });
    EXPECT_LT(num_run, 100u);
    pool.set_stop({});
    num_run = 0;
    pool.ParallelFor(1000, [&](size_t, size_t) { ++num_run; });
    EXPECT_EQ(num_run, 1000u);
  }
}

}  // namespace
}  // namespace ingot
