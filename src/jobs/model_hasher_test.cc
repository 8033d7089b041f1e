#include "jobs/model_hasher.h"

#include <gtest/gtest.h>

#include <atomic>
#include <map>
#include <vector>

namespace ingot {
namespace {

using std::chrono::milliseconds;

// A worker whose files have three pieces each.
class Hashing {
 public:
  ModelHasher::Callbacks callbacks() {
    return {.ask = [this](std::string_view question,
                          const Json& argument) { return Answer(question, argument); },
            .is_idle = [this] { return is_idle.load(); },
            .on_hash =
                [this](const std::string& path, const std::string& sha256) {
                  const std::lock_guard lock(mutex);
                  hashes[path] = sha256;
                  changed.notify_all();
                }};
  }
  void WaitFor(size_t num_hashes) {
    std::unique_lock lock(mutex);
    EXPECT_TRUE(changed.wait_for(lock, std::chrono::seconds(10),
                                 [&] { return hashes.size() == num_hashes; }));
  }

  std::atomic<bool> is_idle = true;
  std::atomic<int> num_pieces = 0;
  std::mutex mutex;
  std::condition_variable changed;
  std::map<std::string, std::string> hashes;

 private:
  Result<Json> Answer(std::string_view question, const Json& argument) {
    if (question == "models") {
      return Json{{"models",
                   {{{"path", "a"}, {"sha256", nullptr}},
                    {{"path", "b"}, {"sha256", "known"}},
                    {{"path", "c"}, {"sha256", nullptr}, {"error", "damaged"}},
                    {{"path", "gone"}, {"sha256", nullptr}}}}};
    }
    const std::string path = argument["path"];
    if (path == "gone") return NotFound("gone");
    ++num_pieces;
    return Json{{"sha256", num_pieces % 3 == 0 ? Json("hash of " + path) : Json()}};
  }
};

TEST(ModelHasher, WhatHasNoHashGetsItPieceByPiece) {
  Hashing hashing;
  ModelHasher hasher(hashing.callbacks());
  hashing.WaitFor(1);
  EXPECT_EQ(hashing.hashes["a"], "hash of a");
  EXPECT_EQ(hashing.num_pieces, 3);
  hasher.Hear({{"models", {{{"path", "new"}, {"sha256", nullptr}}}}});
  hashing.WaitFor(2);
  EXPECT_EQ(hashing.hashes["new"], "hash of new");
}

TEST(ModelHasher, WhileAJobRunsNothingIsRead) {
  Hashing hashing;
  hashing.is_idle = false;
  const ModelHasher hasher(hashing.callbacks());
  std::this_thread::sleep_for(milliseconds(50));
  EXPECT_EQ(hashing.num_pieces, 0);
  hashing.is_idle = true;
  hashing.WaitFor(1);
}

TEST(ModelHasher, ItStopsInTheMiddleOfAFile) {
  Hashing hashing;
  hashing.is_idle = false;
  const auto start = std::chrono::steady_clock::now();
  { const ModelHasher hasher(hashing.callbacks()); }
  EXPECT_LT(std::chrono::steady_clock::now() - start, milliseconds(400));
  EXPECT_EQ(hashing.hashes.size(), 0u);
}

}  // namespace
}  // namespace ingot
