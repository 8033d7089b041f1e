#include "base/file.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <filesystem>
#include <fstream>

namespace ingot {
namespace {

namespace fs = std::filesystem;

class FileTest : public testing::Test {
 protected:
  void SetUp() override { fs::create_directories(dir_); }
  void TearDown() override { fs::remove_all(dir_); }
  const fs::path dir_ = fs::path(testing::TempDir()) / "ingot_file_test";
};

TEST_F(FileTest, MissingFileIsNotFoundAndNamesThePath) {
  const auto file = File::Open(dir_ / "none");
  EXPECT_EQ(file.status().code(), StatusCode::kNotFound);
  EXPECT_NE(file.status().message().find("none"), std::string::npos);
}

TEST_F(FileTest, DirectoryIsRefusedByName) {
  EXPECT_NE(File::Open(dir_).status().message().find("found a directory"), std::string::npos);
}

TEST_F(FileTest, ReadPastTheEndIsCorruption) {
  std::ofstream(dir_ / "short") << "abc";
  const auto file = File::Open(dir_ / "short");
  std::byte bytes[4];
  EXPECT_EQ((*file)->Read(0, bytes).code(), StatusCode::kCorruption);
  EXPECT_TRUE((*file)->ReadAndDrop(1, std::span(bytes).first(2)).ok());
  EXPECT_EQ(bytes[1], std::byte{'c'});
}

TEST_F(FileTest, UncommittedAtomicFileLeavesNothing) {
  const std::string text = "new";
  {
    auto file = AtomicFile::Create(dir_ / "out");
    ASSERT_TRUE((*file)->Write(std::as_bytes(std::span(text))).ok());
  }
  EXPECT_TRUE(fs::is_empty(dir_));
  auto file = AtomicFile::Create(dir_ / "out");
  ASSERT_TRUE((*file)->Write(std::as_bytes(std::span(text))).ok());
  ASSERT_TRUE((*file)->Commit().ok());
  EXPECT_EQ(*ReadSmallFile(dir_ / "out"), "new");
}

TEST_F(FileTest, AtomicFileReplacesRegularFilesOnly) {
  ASSERT_EQ(::mkfifo((dir_ / "pipe").c_str(), 0600), 0);  // as a device would be
  EXPECT_EQ(AtomicFile::Create(dir_ / "pipe").status().code(), StatusCode::kInvalidArgument);
  EXPECT_EQ(AtomicFile::Create(dir_).status().code(), StatusCode::kInvalidArgument);
  EXPECT_EQ(AtomicFile::Create(dir_ / "no" / "out").status().code(), StatusCode::kUnavailable);
  EXPECT_TRUE(fs::is_fifo(dir_ / "pipe"));
}

}  // namespace
}  // namespace ingot
