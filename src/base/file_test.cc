#include "base/file.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <vector>

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

// A file of 10 MiB + 100 bytes, and room for any of its pages.
class FilePagesTest : public FileTest {
 protected:
  void SetUp() override {
    FileTest::SetUp();
    for (size_t i = 0; i < content_.size(); ++i)
      content_[i] = static_cast<char>(i * 2654435761u >> 24);
    std::ofstream(path_) << content_;
    file_ = *File::Open(path_);
  }
  static constexpr size_t kSize = (10 << 20) + 100;
  std::span<std::byte> Pages(uint64_t offset, size_t num_bytes, size_t shift = 0) {
    const auto address = reinterpret_cast<uintptr_t>(room_.data());
    return std::span(room_).subspan(
        (kPageBytes - address % kPageBytes) % kPageBytes + shift,
        static_cast<size_t>(PagesBytes(offset, static_cast<int64_t>(num_bytes))));
  }
  Status Read(uint64_t offset, size_t num_bytes, std::span<std::byte> pages) {
    return file_->ReadPages(offset, static_cast<int64_t>(num_bytes), pages, {});
  }
  const fs::path path_ = dir_ / "weights";
  std::string content_ = std::string(kSize, '\0');
  std::vector<std::byte> room_ = std::vector<std::byte>(kSize + 3 * kPageBytes);
  std::shared_ptr<const File> file_;
};

TEST_F(FilePagesTest, BytesAreTheFilesAtAnyOffsetDirectOrNot) {
  struct Range {
    uint64_t offset;
    size_t num_bytes;
  };
  for (const Range& range : {Range{0, 1}, Range{4095, 2}, Range{4096, 4096}, Range{33, 9 << 20},
                             Range{kSize - 1, 1}, Range{kSize - 5000, 5000}, Range{0, kSize}}) {
    for (size_t shift : {0, 64}) {  // 64: no direct read can go there
      std::ranges::fill(room_, std::byte{0});
      const std::span<std::byte> pages = Pages(range.offset, range.num_bytes, shift);
      ASSERT_TRUE(Read(range.offset, range.num_bytes, pages).ok());
      EXPECT_EQ(std::memcmp(pages.data() + range.offset % kPageBytes,
                            content_.data() + range.offset, range.num_bytes),
                0);
    }
  }
}

TEST_F(FilePagesTest, AFileCutOrWrittenSinceItWasOpenedIsNamed) {
  for (size_t shift : {0, 64}) {
    fs::resize_file(path_, 5 << 20);
    const Status cut = Read(4 << 20, 3 << 20, Pages(4 << 20, 3 << 20, shift));
    EXPECT_EQ(cut.code(), StatusCode::kCorruption);
    EXPECT_NE(cut.message().find("found 5242880 bytes"), std::string::npos) << cut.message();
    std::ofstream(path_) << content_;  // the same size again
    const Status written = Read(0, 100, Pages(0, 100, shift));
    EXPECT_EQ(written.code(), StatusCode::kCorruption);
    EXPECT_NE(written.message().find("written since"), std::string::npos) << written.message();
    file_ = *File::Open(path_);
  }
}

TEST_F(FilePagesTest, ANewFileUnderTheNameLeavesTheOpenOneWhole) {
  std::ofstream(dir_ / "new") << "other";
  fs::rename(dir_ / "new", path_);
  const std::span<std::byte> pages = Pages(0, kSize);
  ASSERT_TRUE(Read(0, kSize, pages).ok());
  EXPECT_EQ(std::memcmp(pages.data(), content_.data(), kSize), 0);
}

// Nothing is mapped at address 0 of a process: the kernel answers EIO.
TEST_F(FilePagesTest, AReadThatTheSystemRefusesNamesTheFileAndTheReason) {
  file_ = *File::Open("/proc/self/mem");
  const Status status = Read(0, 100, Pages(0, 100));
  EXPECT_EQ(status.code(), StatusCode::kUnavailable);
  EXPECT_NE(status.message().find("/proc/self/mem: cannot read"), std::string::npos)
      << status.message();
}

TEST_F(FilePagesTest, ARequestedStopIsSeenBeforeAnythingIsRead) {
  std::stop_source source;
  source.request_stop();
  const auto size = static_cast<int64_t>(kSize);
  EXPECT_EQ(file_->ReadPages(0, size, Pages(0, kSize), source.get_token()).code(),
            StatusCode::kCancelled);
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
