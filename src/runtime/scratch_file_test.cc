#include "runtime/scratch_file.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <vector>

namespace ingot {
namespace {

struct Free {
  void operator()(std::byte* bytes) const { std::free(bytes); }
};
using Pages = std::unique_ptr<std::byte, Free>;

Pages AllocatePages(size_t num_bytes) {
  return Pages(static_cast<std::byte*>(std::aligned_alloc(kScratchAlignment, num_bytes)));
}

// A folder on a disk: the build tree is one.
constexpr const char* kFolder = ".";
constexpr size_t kPiece = 2 * kScratchAlignment;

TEST(ScratchFile, GivesBackWhatWasWrittenInAnyOrder) {
  constexpr int kNumPieces = 40;  // more than the queue holds
  auto file = ScratchFile::Create(kFolder, kNumPieces * kPiece);
  ASSERT_TRUE(file.ok()) << file.status().message();
  const Pages out = AllocatePages(kNumPieces * kPiece), in = AllocatePages(kNumPieces * kPiece);
  for (int i = 0; i < kNumPieces; ++i) {
    std::fill_n(out.get() + i * kPiece, kPiece, static_cast<std::byte>(i + 1));
    (*file)->Write(i * static_cast<int64_t>(kPiece), {out.get() + i * kPiece, kPiece});
  }
  ScratchFile::Ticket last = 0;
  for (int i = kNumPieces - 1; i >= 0; --i) {
    last = (*file)->Read(i * static_cast<int64_t>(kPiece), {in.get() + i * kPiece, kPiece});
  }
  ASSERT_TRUE((*file)->Wait(last).ok());
  EXPECT_TRUE(std::equal(out.get(), out.get() + kNumPieces * kPiece, in.get()));
  EXPECT_EQ((*file)->transferred_bytes(), 2 * kNumPieces * static_cast<int64_t>(kPiece));
}

TEST(ScratchFile, RefusesAFolderInMemory) {
  const auto file = ScratchFile::Create("/dev/shm", kPiece);
  EXPECT_EQ(file.status().code(), StatusCode::kInvalidArgument);
  EXPECT_EQ(file.status().message(),
            "scratch: expected a folder on a disk, found '/dev/shm' in memory");
}

TEST(ScratchFile, NamesAFolderThatIsNotThere) {
  EXPECT_EQ(ScratchFile::Create("no/such/folder", kPiece).status().code(),
            StatusCode::kInvalidArgument);
}

TEST(ScratchFile, TellsADiskThatHasNotTheRoom) {
  const auto file = ScratchFile::Create(kFolder, int64_t{1} << 60);
  EXPECT_EQ(file.status().code(), StatusCode::kUnavailable) << file.status().message();
}

TEST(ScratchFile, AReadBehindTheEndIsAnErrorOfItsTicketAndOfAllAfter) {
  auto file = ScratchFile::Create(kFolder, kPiece);
  ASSERT_TRUE(file.ok()) << file.status().message();
  const Pages page = AllocatePages(kPiece);
  const auto bad = (*file)->Read(1 << 20, {page.get(), kPiece});
  EXPECT_EQ((*file)->Wait(bad).code(), StatusCode::kUnavailable);
  const auto good = (*file)->Write(0, {page.get(), kPiece});
  EXPECT_EQ((*file)->Wait(good).code(), StatusCode::kUnavailable);
}

}  // namespace
}  // namespace ingot
