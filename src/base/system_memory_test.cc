#include "base/system_memory.h"

#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstring>
#include <fstream>

namespace ingot {
namespace {

namespace fs = std::filesystem;

constexpr int64_t kMiB = 1 << 20;
constexpr const char* kVersion1Mount = "35 31 0:32 / /cg/memory rw - cgroup cgroup rw,memory\n";
constexpr const char* kVersion2Mount = "41 31 0:38 / /cg rw - cgroup2 cgroup2 rw\n";

// A machine with 1000 MiB available; this process holds 30 MiB, 10 of them mapped files.
class UsableMemoryTest : public testing::Test {
 protected:
  void SetUp() override {
    Write("proc/meminfo", "MemTotal: 2048000 kB\nMemFree: 1 kB\nMemAvailable: 1024000 kB\n");
    Write("proc/self/status", "Name: x\nVmHWM:\t 40960 kB\nVmRSS:\t 30720 kB\nRssFile: 10240 kB\n");
  }
  void TearDown() override { fs::remove_all(root_); }

  void Write(const fs::path& path, const std::string& text) {
    fs::create_directories((root_ / path).parent_path());
    std::ofstream(root_ / path) << text;
  }
  void WriteVersion1(const fs::path& folder, int64_t limit, int64_t usage, int64_t cache) {
    Write(folder / "memory.limit_in_bytes", std::to_string(limit) + "\n");
    Write(folder / "memory.usage_in_bytes", std::to_string(usage) + "\n");
    Write(folder / "memory.stat",
          fmt::format("cache 1\ntotal_inactive_file {}\ntotal_active_file 0\n", cache));
  }
  void WriteVersion2(const fs::path& folder, const std::string& max, int64_t usage) {
    Write(folder / "memory.max", max + "\n");
    Write(folder / "memory.current", std::to_string(usage) + "\n");
    Write(folder / "memory.stat", "anon 5\ninactive_file 0\nactive_file 1048576\n");
  }

  void ExpectUsable(int64_t num_bytes, const std::string& limited_by) {
    const Result<UsableMemory> usable = ReadUsableMemory(root_);
    ASSERT_TRUE(usable.ok()) << usable.status().message();
    EXPECT_EQ(usable->num_bytes, num_bytes);
    EXPECT_EQ(usable->limited_by, limited_by);
  }

  const fs::path root_ = fs::path(testing::TempDir()) / fmt::format("ingot_root_{}", ::getpid());
};

TEST_F(UsableMemoryTest, WithoutCgroupsItIsWhatIsAvailableAndWhatIsHeld) {
  ExpectUsable(1020 * kMiB, "available RAM");
}

TEST_F(UsableMemoryTest, Version1LimitCountsWithoutThePageCache) {
  Write("proc/self/cgroup", "5:devices:/\n4:cpu,memory:/a\n0::/\n");
  Write("proc/self/mountinfo", kVersion1Mount);
  WriteVersion1("cg/memory/a", 300 * kMiB, 100 * kMiB, 60 * kMiB);
  WriteVersion1("cg/memory", 9223372036854771712, 500 * kMiB, 0);
  ExpectUsable((300 - 100 + 60 + 20) * kMiB, "memory limit of cgroup /a");
}

TEST_F(UsableMemoryTest, LimitOfAParentHolds) {
  Write("proc/self/cgroup", "4:memory:/a/b\n");
  Write("proc/self/mountinfo", kVersion1Mount);
  WriteVersion1("cg/memory/a/b", 800 * kMiB, 20 * kMiB, 0);
  WriteVersion1("cg/memory/a", 400 * kMiB, 200 * kMiB, 0);
  ExpectUsable(220 * kMiB, "memory limit of cgroup /a");
}

TEST_F(UsableMemoryTest, Version2LimitIsTheLowerOfMaxAndHigh) {
  Write("proc/self/cgroup", "0::/job\n");
  Write("proc/self/mountinfo", kVersion2Mount);
  WriteVersion2("cg/job", std::to_string(500 * kMiB), 51 * kMiB);
  ExpectUsable((500 - 51 + 1 + 20) * kMiB, "memory limit of cgroup /job");
  Write("cg/job/memory.high", std::to_string(400 * kMiB));
  ExpectUsable((400 - 51 + 1 + 20) * kMiB, "memory limit of cgroup /job");
}

TEST_F(UsableMemoryTest, MaxIsNoLimit) {
  Write("proc/self/cgroup", "0::/job\n");
  Write("proc/self/mountinfo", kVersion2Mount);
  WriteVersion2("cg/job", "max", 51 * kMiB);
  ExpectUsable(1020 * kMiB, "available RAM");
}

// Docker with cgroup v1: the mount shows the container's cgroup alone, /proc names the host's path.
TEST_F(UsableMemoryTest, CgroupOfAContainerIsFoundAtItsMount) {
  Write("proc/self/cgroup", "4:memory:/docker/f00\n");
  Write("proc/self/mountinfo",
        "35 31 0:32 /docker/f00 /cg/memory ro shared:9 - cgroup cgroup rw,memory\n");
  WriteVersion1("cg/memory", 300 * kMiB, 100 * kMiB, 0);
  ExpectUsable(220 * kMiB, "memory limit of cgroup /");
}

TEST_F(UsableMemoryTest, CgroupOutsideTheMountIsReadAtTheMount) {
  Write("proc/self/cgroup", "0::/../elsewhere\n");
  Write("proc/self/mountinfo", kVersion2Mount);
  WriteVersion2("cg", std::to_string(300 * kMiB), 101 * kMiB);
  ExpectUsable(220 * kMiB, "memory limit of cgroup /");
}

TEST_F(UsableMemoryTest, FullCgroupLeavesWhatTheProcessHolds) {
  Write("proc/self/cgroup", "4:memory:/a\n");
  Write("proc/self/mountinfo", kVersion1Mount);
  WriteVersion1("cg/memory/a", 100 * kMiB, 200 * kMiB, 0);
  ExpectUsable(20 * kMiB, "memory limit of cgroup /a");
}

TEST_F(UsableMemoryTest, WhatIsNoNumberIsNamed) {
  Write("proc/self/cgroup", "0::/job\n");
  Write("proc/self/mountinfo", kVersion2Mount);
  WriteVersion2("cg/job", "many", 0);
  const Status status = ReadUsableMemory(root_).status();
  EXPECT_EQ(status.code(), StatusCode::kUnavailable);
  EXPECT_NE(status.message().find("memory.max: expected a number or max, found 'many'"),
            std::string::npos);
  Write("proc/meminfo", "MemTotal: 1 kB\n");
  EXPECT_NE(ReadUsableMemory(root_).status().message().find("'MemAvailable'"), std::string::npos);
}

TEST_F(UsableMemoryTest, ProcessMemoryIsInBytes) {
  const Result<ProcessMemory> memory = ReadProcessMemory(root_);
  ASSERT_TRUE(memory.ok());
  EXPECT_EQ(memory->resident_bytes, 30 * kMiB);
  EXPECT_EQ(memory->peak_bytes, 40 * kMiB);
}

TEST_F(UsableMemoryTest, OutOfMemoryKillsAreThoseOfTheCgroup) {
  EXPECT_EQ(CountOutOfMemoryKills(root_), 0);
  Write("proc/vmstat", "nr_free_pages 7\noom_kill 5\n");
  EXPECT_EQ(CountOutOfMemoryKills(root_), 5);
  Write("proc/self/cgroup", "4:memory:/a\n");
  Write("proc/self/mountinfo", kVersion1Mount);
  Write("cg/memory/a/memory.oom_control", "oom_kill_disable 0\nunder_oom 0\noom_kill 2\n");
  EXPECT_EQ(CountOutOfMemoryKills(root_), 2);
  Write("proc/self/cgroup", "0::/b\n");
  Write("proc/self/mountinfo", kVersion2Mount);
  Write("cg/b/memory.events", "low 0\noom 9\noom_kill 3\n");
  EXPECT_EQ(CountOutOfMemoryKills(root_), 3);
}

TEST(SystemMemory, ThisMachineIsReadable) {
  const Result<UsableMemory> usable = ReadUsableMemory();
  ASSERT_TRUE(usable.ok()) << usable.status().message();
  EXPECT_GT(usable->num_bytes, kMiB);
}

TEST(SystemMemory, PeakBeginsAgainAfterAReset) {
  constexpr size_t kBytes = 64 << 20;
  void* block = ::mmap(nullptr, kBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  ASSERT_NE(block, MAP_FAILED);
  std::memset(block, 1, kBytes);
  ::munmap(block, kBytes);
  const int64_t peak = ReadProcessMemory()->peak_bytes;
  EXPECT_GT(peak, 64 * kMiB);
  const Status reset = ResetPeakMemory();
  if (!reset.ok()) GTEST_SKIP() << reset.message();
  EXPECT_LT(ReadProcessMemory()->peak_bytes, peak - 48 * kMiB);
}

}  // namespace
}  // namespace ingot
