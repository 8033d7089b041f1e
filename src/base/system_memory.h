// What memory the system would give this process, and what the process has taken.
//
// Every reader takes the root of the file system, so that tests read a tree of
// their own. The units of the kernel's files (kB, pages) end here: all is bytes.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>

#include "base/status.h"

namespace ingot {

struct UsableMemory {
  // Most the resident set of this process can become without swap and without
  // the kernel's out-of-memory killer: what it holds now, and the least room of
  //   MemAvailable of /proc/meminfo,
  //   limit - (usage - page cache) of each cgroup it is in, up to the mount.
  int64_t num_bytes = 0;
  std::string limited_by;  // "available RAM", "memory limit of cgroup /a/b"
};

// cgroup v1 (memory.limit_in_bytes) and v2 (memory.max, memory.high) alike; a
// system without cgroups has no such limit. kUnavailable names a file of /proc
// or of a cgroup that is missing or that holds no number.
Result<UsableMemory> ReadUsableMemory(const std::filesystem::path& root = "/");

struct ProcessMemory {
  int64_t resident_bytes = 0;  // VmRSS
  int64_t peak_bytes = 0;      // VmHWM: the high-water mark of VmRSS
};

// getrusage's ru_maxrss is no peak of this program: it begins with the resident
// set of the process that started it, before exec.
Result<ProcessMemory> ReadProcessMemory(const std::filesystem::path& root = "/");

// The high-water mark begins again at today's resident set.
Status ResetPeakMemory(const std::filesystem::path& root = "/");

// How often the kernel's out-of-memory killer has struck in the cgroup of this process (v1
// memory.oom_control, v2 memory.events); where there is none, on this machine. It counts before it
// kills: what died of SIGKILL while the number stayed was killed by somebody else.
int64_t CountOutOfMemoryKills(const std::filesystem::path& root = "/");

}  // namespace ingot
