#include "base/sha256.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

namespace ingot {
namespace {

TEST(Sha256, MatchesTheStandardsExample) {  // FIPS 180-4, "abc"
  EXPECT_EQ(Sha256(std::as_bytes(std::span("abc", 3))),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
}

TEST(CachedSha256, RemembersAVersionOfAFileAndHashesTheNext) {
  namespace fs = std::filesystem;
  const fs::path folder = fs::path(testing::TempDir()) / "ingot_sha256_test";
  fs::remove_all(folder);
  fs::create_directories(folder);
  const fs::path path = folder / "model";
  const auto hash_of = [&](const char* content) {
    std::ofstream(path) << content;
    const Result<std::string> hash = CachedSha256OfFile(**File::Open(path), folder / "cache", {});
    EXPECT_TRUE(hash.ok()) << hash.status().message();
    return *hash;
  };
  const std::string first = hash_of("first");
  EXPECT_EQ(first, Sha256(std::as_bytes(std::span("first", 5))));
  const auto entry = *fs::directory_iterator(folder / "cache");
  EXPECT_EQ(entry.path().filename(), (*File::Open(path))->identity());
  // What stands in the cache is taken, unless it is no hash.
  std::ofstream(entry.path()) << std::string(64, 'a');
  EXPECT_EQ(*CachedSha256OfFile(**File::Open(path), folder / "cache", {}), std::string(64, 'a'));
  std::ofstream(entry.path()) << "damaged";
  EXPECT_EQ(*CachedSha256OfFile(**File::Open(path), folder / "cache", {}), first);
  EXPECT_NE(hash_of("a second version"), first);
  fs::remove_all(folder);
}

TEST(FileSha256, PiecesGiveTheHashOfTheWhole) {
  namespace fs = std::filesystem;
  const fs::path path = fs::path(testing::TempDir()) / "ingot-sha256-pieces";
  std::string content((1 << 20) + 12345, 'x');
  std::ofstream(path, std::ios::binary) << content;
  FileSha256 pieces(*File::Open(path));
  int num_pieces = 1;
  Result<std::optional<std::string>> hash = pieces.Continue(std::chrono::milliseconds(0));
  for (; hash.ok() && !*hash; ++num_pieces) hash = pieces.Continue(std::chrono::milliseconds(0));
  ASSERT_TRUE(hash.ok()) << hash.status().message();
  EXPECT_EQ(**hash, Sha256(std::as_bytes(std::span(content))));
  EXPECT_EQ(num_pieces, 5);
  std::ofstream(path, std::ios::binary | std::ios::trunc);
  EXPECT_EQ(**FileSha256(*File::Open(path)).Continue(std::chrono::milliseconds(0)), Sha256({}));
  fs::remove(path);
}

}  // namespace
}  // namespace ingot
