#include "base/thread_pool.h"

#include <gtest/gtest.h>

#include <atomic>

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

}  // namespace
}  // namespace ingot
