#include "base/system_memory.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <fstream>
#include <iterator>
#include <optional>
#include <span>
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
  return std::string(std::istreambuf_iterator<char>(file), {});
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

// The lines "name number…" or "name:  number…" of a file, read once.
class Fields {
 public:
  static Result<Fields> Read(const fs::path& path) {
    std::optional<std::string> text = ReadVirtualFile(path);
    if (!text) return Unavailable("{}: expected a readable file, found none", path.string());
    return Fields(path, *std::move(text));
  }

  Result<int64_t> Get(std::string_view name) const {
    constexpr std::string_view kBlanks = " \t";
    for (std::string_view rest = text_; !rest.empty();) {
      std::string_view line = rest.substr(0, rest.find('\n'));
      rest.remove_prefix(std::min(rest.size(), line.size() + 1));
      if (!line.starts_with(name)) continue;
      line.remove_prefix(name.size());
      if (line.starts_with(':')) line.remove_prefix(1);
      const size_t begin = line.find_first_not_of(kBlanks);
      if (begin == 0) continue;  // a longer name
      const std::string_view number =
          begin == std::string_view::npos
              ? std::string_view()
              : line.substr(begin, line.find_first_of(kBlanks, begin) - begin);
      if (const std::optional<int64_t> value = ParseNumber(number)) return *value;
      return Unavailable("{}: {}: expected a number, found '{}'", path_.string(), name, number);
    }
    return Unavailable("{}: expected a line '{}', found none", path_.string(), name);
  }
  Result<int64_t> GetKilobytes(std::string_view name) const {
    INGOT_ASSIGN_OR_RETURN(const int64_t number, Get(name));
    return number * 1024;
  }

 private:
  Fields(fs::path path, std::string text) : path_(std::move(path)), text_(std::move(text)) {}

  fs::path path_;
  std::string text_;
};

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
  std::span<const char* const> limits;
  const char* usage;
  std::array<const char*, 2> page_cache;  // fields of memory.stat
  const char* events;                     // holds a line "oom_kill N"
};
constexpr const char* kLimits1[] = {"memory.limit_in_bytes"};
constexpr const char* kLimits2[] = {"memory.max", "memory.high"};
constexpr CgroupFiles kVersion1 = {kLimits1,
                                   "memory.usage_in_bytes",
                                   {"total_active_file", "total_inactive_file"},
                                   "memory.oom_control"};
constexpr CgroupFiles kVersion2 = {
    kLimits2, "memory.current", {"active_file", "inactive_file"}, "memory.events"};

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
  const size_t dash = line.find(" - cgroup");
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
  constexpr int64_t kNoLimit = int64_t{1} << 60;  // version 1 has no word for it
  std::optional<int64_t> limit;
  for (const char* name : files.limits) {
    INGOT_ASSIGN_OR_RETURN(const std::optional<int64_t> found, ReadLimit(folder / name));
    if (found) limit = std::min(*found, limit.value_or(*found));
  }
  if (!limit || *limit >= kNoLimit) return std::optional<int64_t>();
  INGOT_ASSIGN_OR_RETURN(const std::optional<int64_t> usage, ReadLimit(folder / files.usage));
  int64_t room = *limit - usage.value_or(0);
  INGOT_ASSIGN_OR_RETURN(const Fields stat, Fields::Read(folder / "memory.stat"));
  for (const char* name : files.page_cache) {
    INGOT_ASSIGN_OR_RETURN(const int64_t cached, stat.Get(name));
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
  INGOT_ASSIGN_OR_RETURN(const Fields meminfo, Fields::Read(root / "proc/meminfo"));
  INGOT_ASSIGN_OR_RETURN(const int64_t available, meminfo.GetKilobytes("MemAvailable"));
  UsableMemory usable{.num_bytes = available, .limited_by = "available RAM"};
  const std::string cgroups = ReadVirtualFile(root / "proc/self/cgroup").value_or("");
  const std::string mounts = ReadVirtualFile(root / "proc/self/mountinfo").value_or("");
  for (const std::string& line : Split(mounts, '\n')) {
    if (const std::optional<Hierarchy> hierarchy = ParseMount(line, cgroups)) {
      INGOT_RETURN_IF_ERROR(LimitByCgroups(root, *hierarchy, usable));
    }
  }
  // Mapped files (the program itself) are page cache: they are in the room already.
  INGOT_ASSIGN_OR_RETURN(const Fields status, Fields::Read(root / "proc/self/status"));
  INGOT_ASSIGN_OR_RETURN(const int64_t resident, status.GetKilobytes("VmRSS"));
  INGOT_ASSIGN_OR_RETURN(const int64_t mapped, status.GetKilobytes("RssFile"));
  usable.num_bytes += resident - mapped;
  return usable;
}

Result<ProcessMemory> ReadProcessMemory(const fs::path& root) {
  INGOT_ASSIGN_OR_RETURN(const Fields status, Fields::Read(root / "proc/self/status"));
  ProcessMemory memory;
  INGOT_ASSIGN_OR_RETURN(memory.resident_bytes, status.GetKilobytes("VmRSS"));
  INGOT_ASSIGN_OR_RETURN(memory.peak_bytes, status.GetKilobytes("VmHWM"));
  return memory;
}

Status ResetPeakMemory(const fs::path& root) {
  const fs::path path = root / "proc/self/clear_refs";
  std::ofstream file(path);
  if (file << "5" << std::flush) return {};
  return Unavailable("{}: expected to take a 5, found that it cannot be written", path.string());
}

int64_t CountOutOfMemoryKills(const fs::path& root) {
  const auto count = [](const fs::path& path) -> std::optional<int64_t> {
    const Result<Fields> events = Fields::Read(path);
    if (!events.ok()) return std::nullopt;
    const Result<int64_t> kills = events->Get("oom_kill");
    return kills.ok() ? std::optional(*kills) : std::nullopt;
  };
  const std::string cgroups = ReadVirtualFile(root / "proc/self/cgroup").value_or("");
  const std::string mounts = ReadVirtualFile(root / "proc/self/mountinfo").value_or("");
  for (const std::string& line : Split(mounts, '\n')) {
    const std::optional<Hierarchy> hierarchy = ParseMount(line, cgroups);
    if (!hierarchy) continue;
    const fs::path folder = root / hierarchy->mount / hierarchy->cgroup;
    if (const std::optional<int64_t> kills = count(folder / hierarchy->files->events)) {
      return *kills;
    }
  }
  return count(root / "proc/vmstat").value_or(0);
}

}  // namespace ingot
