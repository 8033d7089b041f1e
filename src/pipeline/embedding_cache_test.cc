#include "pipeline/embedding_cache.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <chrono>
#include <cmath>
#include <fstream>

#include "library/library.h"

namespace ingot {
namespace {

namespace fs = std::filesystem;

class EmbeddingCacheTest : public ::testing::Test {
 protected:
  void SetUp() override { fs::remove_all(folder_); }
  void TearDown() override { fs::remove_all(folder_); }
  static std::string KeyOf(char letter) { return std::string(64, letter); }

  const fs::path folder_ = fs::path(::testing::TempDir()) / "embedding_cache_test";
  const std::vector<float> values_ = {1.0f, -0.0f, 3e-40f};
};

TEST_F(EmbeddingCacheTest, GivesTheSameBits) {
  const EmbeddingCache cache(folder_);
  std::vector<float> out(3);
  EXPECT_FALSE(cache.Load(KeyOf('a'), out));
  cache.Store(KeyOf('a'), values_);
  ASSERT_TRUE(cache.Load(KeyOf('a'), out));
  EXPECT_EQ(out, values_);
  EXPECT_TRUE(std::signbit(out[1]));
  EXPECT_FALSE(cache.Load(KeyOf('b'), out));
}

TEST_F(EmbeddingCacheTest, ATornOrRottenEntryIsNoEntry) {
  const EmbeddingCache cache(folder_);
  std::vector<float> out(3), larger(4), smaller(2);
  cache.Store(KeyOf('a'), values_);
  EXPECT_FALSE(cache.Load(KeyOf('a'), larger));
  EXPECT_FALSE(cache.Load(KeyOf('a'), smaller));
  {
    std::fstream file(folder_ / KeyOf('a'), std::ios::in | std::ios::out | std::ios::binary);
    file.seekp(1);
    file.put('x');
  }
  EXPECT_FALSE(cache.Load(KeyOf('a'), out));
  cache.Store(KeyOf('a'), values_);
  fs::resize_file(folder_ / KeyOf('a'), 40);
  EXPECT_FALSE(cache.Load(KeyOf('a'), out));
}

TEST_F(EmbeddingCacheTest, AFolderThatCannotBeMadeIsNoFault) {
  const EmbeddingCache cache("/dev/null/x");
  std::vector<float> out(3);
  cache.Store(KeyOf('a'), values_);
  EXPECT_FALSE(cache.Load(KeyOf('a'), out));
}

TEST_F(EmbeddingCacheTest, TheLongestUnusedGoFirst) {
  const EmbeddingCache cache(folder_, 2 * (12 + 64));  // two entries
  std::vector<float> out(3);
  cache.Store(KeyOf('a'), values_);
  cache.Store(KeyOf('b'), values_);
  const auto past = fs::file_time_type::clock::now() - std::chrono::hours(2);
  fs::last_write_time(folder_ / KeyOf('a'), past);
  fs::last_write_time(folder_ / KeyOf('b'), past + std::chrono::hours(1));
  EXPECT_TRUE(cache.Load(KeyOf('a'), out));  // used now
  cache.Store(KeyOf('c'), values_);
  EXPECT_TRUE(cache.Load(KeyOf('a'), out));
  EXPECT_FALSE(cache.Load(KeyOf('b'), out));
  EXPECT_TRUE(cache.Load(KeyOf('c'), out));
}

TEST_F(EmbeddingCacheTest, TheKeyFollowsAllThatTheBitsFollow) {
  const fs::path models = INGOT_SOURCE_DIR "/demo/models";
  const Result<ModelSet> set = ResolveModels({.models_dir = models});
  ASSERT_TRUE(set.ok()) << set.status().message();
  const WeightedTokens tokens = {.ids = {1, 2}, .weights = {1.0f, 1.1f}};
  const auto key = [&](const WeightedTokens& of, const Component& encoder, Precision precision) {
    return EmbeddingCache::Key("t5", encoder, of, precision, "cpu");
  };
  const std::string base = key(tokens, set->t5, Precision::kDefault);
  EXPECT_EQ(base, key(tokens, set->t5, Precision::kDefault));
  EXPECT_NE(base, key({.ids = {1, 3}, .weights = {1.0f, 1.1f}}, set->t5, Precision::kDefault));
  EXPECT_NE(base, key({.ids = {1, 2}, .weights = {1.0f, 1.2f}}, set->t5, Precision::kDefault));
  EXPECT_NE(base,
            key({.ids = {1, 2, 0}, .weights = {1.0f, 1.1f, 1.0f}}, set->t5, Precision::kDefault));
  EXPECT_NE(base, key(tokens, set->clip, Precision::kDefault));
  EXPECT_NE(base, key(tokens, set->t5, Precision::kExact));
}

}  // namespace
}  // namespace ingot
