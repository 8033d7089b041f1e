#include "base/system_memory.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <fstream>
#include <optional>
#include <sstream>
#include <string_view>
#include <vector>

namespace ingot {
namespace {

namespace fs = std::filesystem;

// Files of /proc and of cgroups have no size: they are read to their end.
std::optional<std::string> ReadVirtualFile(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) return std::nullopt;
  std::ostringstream text;
  text << file.rdbuf();
  return std::move(text).str();
}

std::vector<std::string> Split(const std::string& text, char separator) {
  std::vector<std::string> parts;
  std::istringstream stream(text);
  for (std::string part; std::getline(stream, part, separator);) parts.push_back(part);
  return parts;
}

std::optional<int64_t> ParseNumber(std::string_view text) {
  int64_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc()) return std::nullopt;
  return number;
}

// The number of the line "name number…" or "name:  number…" of `path`.
Result<int64_t> ReadField(const fs::path& path, std::string_view name) {
  const std::optional<std::string> text = ReadVirtualFile(path);
  if (!text) return Unavailable("{}: expected a readable file, found none", path.string());
  for (const std::string& line : Split(*text, '\n')) {
    std::istringstream words(line);
    std::string word, number;
    words >> word >> number;
    if (word.ends_with(':')) word.pop_back();
    if (word != name) continue;
    if (const std::optional<int64_t> value = ParseNumber(number)) return *value;
    return Unavailable("{}: {}: expected a number, found '{}'", path.string(), name, number);
  }
  return Unavailable("{}: expected a line '{}', found none", path.string(), name);
}

Result<int64_t> ReadKilobytes(const fs::path& path, std::string_view name) {
  INGOT_ASSIGN_OR_RETURN(const int64_t number, ReadField(path, name));
  return number * 1024;
}

// A file that holds one number. None: there is no such file, or no limit ("max").
Result<std::optional<int64_t>> ReadLimit(const fs::path& path) {
  const std::optional<std::string> text = ReadVirtualFile(path);
  if (!text || text->starts_with("max")) return std::optional<int64_t>();
  if (const std::optional<int64_t> limit = ParseNumber(*text)) return limit;
  return Unavailable("{}: expected a number or max, found '{}'", path.string(),
                     text->substr(0, text->find('\n')));
}

// What the two generations of cgroups call the same things. Every page of the
// file lists can be taken back; shared memory is not on them.
struct CgroupFiles {
  std::array<const char*, 2> limits;
  const char* usage;
  std::array<const char*, 2> page_cache;  // fields of memory.stat
  const char* events;                     // holds a line "oom_kill N"
};
constexpr CgroupFiles kVersion1 = {{"memory.limit_in_bytes", "memory.limit_in_bytes"},
                                   "memory.usage_in_bytes",
                                   {"total_active_file", "total_inactive_file"},
                                   "memory.oom_control"};
constexpr CgroupFiles kVersion2 = {{"memory.max", "memory.high"},
                                   "memory.current",
                                   {"active_file", "inactive_file"},
                                   "memory.events"};

// Where a hierarchy of cgroups is mounted, and the cgroup of this process in it.
struct Hierarchy {
  const CgroupFiles* files;
  fs::path mount;   // below the root of the file system
  fs::path cgroup;  // below the mount
};

// Of "0::/a/b" (v2) or "4:memory:/a/b" (v1) in /proc/self/cgroup: "/a/b".
std::optional<std::string> FindCgroup(const std::string& text, const CgroupFiles& files) {
  for (const std::string& line : Split(text, '\n')) {
    const size_t first = line.find(':'), second = line.find(':', first + 1);
    if (second == std::string::npos) continue;
    const std::vector<std::string> controllers =
        Split(line.substr(first + 1, second - first - 1), ',');
    const bool matches = &files == &kVersion2 ? line.starts_with("0::")
                                              : std::ranges::count(controllers, "memory") > 0;
    if (matches) return line.substr(second + 1);
  }
  return std::nullopt;
}

// One line of /proc/self/mountinfo (proc(5)):
//   31 23 0:32 ROOT MOUNT options [tag…] - TYPE SOURCE SUPER_OPTIONS
// In a container ROOT is its cgroup, and /proc/self/cgroup may name it too.
std::optional<Hierarchy> ParseMount(const std::string& line, const std::string& cgroups) {
  const size_t dash = line.find(" - ");
  if (dash == std::string::npos) return std::nullopt;
  const std::vector<std::string> head = Split(line.substr(0, dash), ' ');
  const std::vector<std::string> tail = Split(line.substr(dash + 3), ' ');
  if (head.size() < 5 || tail.size() < 3) return std::nullopt;
  const bool is_v1 = tail[0] == "cgroup" && std::ranges::count(Split(tail[2], ','), "memory") > 0;
  if (!is_v1 && tail[0] != "cgroup2") return std::nullopt;
  const CgroupFiles& files = is_v1 ? kVersion1 : kVersion2;
  const std::optional<std::string> cgroup = FindCgroup(cgroups, files);
  if (!cgroup) return std::nullopt;
  fs::path below = fs::path(*cgroup).lexically_relative(head[3]);
  // Not below what is mounted: the mount itself is all this process can see.
  if (below.empty() || *below.begin() == "..") below = ".";
  return Hierarchy{&files, fs::path(head[4]).relative_path(), below};
}

// Room left in one cgroup; none where it has no limit.
Result<std::optional<int64_t>> ReadRoom(const fs::path& folder, const CgroupFiles& files) {
  std::optional<int64_t> limit;
  for (const char* name : files.limits) {
    INGOT_ASSIGN_OR_RETURN(const std::optional<int64_t> found, ReadLimit(folder / name));
    if (found) limit = std::min(*found, limit.value_or(*found));
  }
  if (!limit) return limit;
  INGOT_ASSIGN_OR_RETURN(const std::optional<int64_t> usage, ReadLimit(folder / files.usage));
  int64_t room = *limit - usage.value_or(0);
  for (const char* name : files.page_cache) {
    INGOT_ASSIGN_OR_RETURN(const int64_t cached, ReadField(folder / "memory.stat", name));
    room += cached;
  }
  return std::optional(std::max<int64_t>(0, room));
}

// Lowers `usable` to the least room from the process's cgroup up to the mount.
Status LimitByCgroups(const fs::path& root, const Hierarchy& hierarchy, UsableMemory& usable) {
  for (fs::path cgroup = hierarchy.cgroup.lexically_normal();; cgroup = cgroup.parent_path()) {
    const fs::path folder = root / hierarchy.mount / cgroup;
    INGOT_ASSIGN_OR_RETURN(const std::optional<int64_t> room, ReadRoom(folder, *hierarchy.files));
    if (room && *room < usable.num_bytes) {
      usable = {*room, fmt::format("memory limit of cgroup /{}",
                                   cgroup == "." ? std::string() : cgroup.string())};
    }
    if (cgroup.empty() || cgroup == ".") return {};
  }
}

}  // namespace

Result<UsableMemory> ReadUsableMemory(const fs::path& root) {
  INGOT_ASSIGN_OR_RETURN(const int64_t available,
                         ReadKilobytes(root / "proc/meminfo", "MemAvailable"));
  UsableMemory usable{.num_bytes = available, .limited_by = "available RAM"};
  const std::string cgroups = ReadVirtualFile(root / "proc/self/cgroup").value_or("");
  const std::string mounts = ReadVirtualFile(root / "proc/self/mountinfo").value_or("");
  for (const std::string& line : Split(mounts, '\n')) {
    if (const std::optional<Hierarchy> hierarchy = ParseMount(line, cgroups)) {
      INGOT_RETURN_IF_ERROR(LimitByCgroups(root, *hierarchy, usable));
    }
  }
  // Mapped files (the program itself) are page cache: they are in the room already.
  const fs::path status = root / "proc/self/status";
  INGOT_ASSIGN_OR_RETURN(const int64_t resident, ReadKilobytes(status, "VmRSS"));
  INGOT_ASSIGN_OR_RETURN(const int64_t mapped, ReadKilobytes(status, "RssFile"));
  usable.num_bytes += resident - mapped;
  return usable;
}

Result<ProcessMemory> ReadProcessMemory(const fs::path& root) {
  const fs::path status = root / "proc/self/status";
  ProcessMemory memory;
  INGOT_ASSIGN_OR_RETURN(memory.resident_bytes, ReadKilobytes(status, "VmRSS"));
  INGOT_ASSIGN_OR_RETURN(memory.peak_bytes, ReadKilobytes(status, "VmHWM"));
  return memory;
}

Status ResetPeakMemory(const fs::path& root) {
  const fs::path path = root / "proc/self/clear_refs";
  std::ofstream file(path);
  if (file << "5" << std::flush) return {};
  return Unavailable("{}: expected to take a 5, found that it cannot be written", path.string());
}

int64_t CountOutOfMemoryKills(const fs::path& root) {
  const std::string cgroups = ReadVirtualFile(root / "proc/self/cgroup").value_or("");
  const std::string mounts = ReadVirtualFile(root / "proc/self/mountinfo").value_or("");
  for (const std::string& line : Split(mounts, '\n')) {
    const std::optional<Hierarchy> hierarchy = ParseMount(line, cgroups);
    if (!hierarchy) continue;
    const fs::path folder = root / hierarchy->mount / hierarchy->cgroup;
    const Result<int64_t> kills = ReadField(folder / hierarchy->files->events, "oom_kill");
    if (kills.ok()) return *kills;
  }
  const Result<int64_t> kills = ReadField(root / "proc/vmstat", "oom_kill");
  return kills.ok() ? *kills : 0;
}

}  // namespace ingot
