#include "jobs/picture_paths.h"

#include <algorithm>
#include <charconv>
#include <ctime>
#include <system_error>

#include "jobs/worker_protocol.h"

namespace ingot {
namespace {

namespace fs = std::filesystem;

std::string Today() {
  const std::time_t now = std::time(nullptr);
  std::tm local = {};
  ::localtime_r(&now, &local);
  return fmt::format("{:04}-{:02}-{:02}", local.tm_year + 1900, local.tm_mon + 1, local.tm_mday);
}

// Behind the highest of "NNNNN-…" in the folder.
int64_t NextNumber(const fs::path& folder) {
  int64_t next = 0;
  std::error_code error;  // no folder yet: no pictures
  for (fs::directory_iterator at(folder, error), end; !error && at != end; at.increment(error)) {
    const std::string name = at->path().filename().string();
    int64_t number = 0;
    const auto [rest, fault] = std::from_chars(name.data(), name.data() + name.size(), number);
    if (fault == std::errc() && rest != name.data() + name.size() && *rest == '-') {
      next = std::max(next, number + 1);
    }
  }
  return next;
}

}  // namespace

Status CheckOutputFolder(const std::string& folder) {
  const fs::path path(folder);
  const bool leaves = std::ranges::find(path, fs::path("..")) != path.end();
  if (!folder.empty() && path.is_relative() && !leaves && folder.find('\0') == std::string::npos) {
    return {};
  }
  return InvalidArgument("output folder: expected a name below outputs, found '{}'",
                         folder.substr(0, 80));
}

Result<std::vector<fs::path>> PicturePaths::Choose(const QueuedJob& job, const fs::path& outputs) {
  const auto seed = job.row.job.value("seed", uint64_t{0});
  const fs::path day = outputs / job.output_folder / Today();
  const bool is_counted = day == counted_;
  INGOT_ASSIGN_OR_RETURN(
      std::vector<fs::path> paths,
      queue_.NamePictures(job.row.id,
                          {.counter = day.string(),
                           .count = static_cast<int>(NumberOf(job.row.job, "batch").value_or(1)),
                           .at_least = is_counted ? 0 : NextNumber(day),
                           .path = [&](int64_t number, int picture) {
                             return day / fmt::format("{:05}-{}.png", number,
                                                      seed + static_cast<uint64_t>(picture));
                           }}));
  counted_ = day;
  // Put there by somebody else since.
  std::error_code ignored;
  const auto exists = [&](const fs::path& path) { return fs::exists(path, ignored); };
  if (!is_counted || std::ranges::none_of(paths, exists)) return paths;
  counted_.clear();
  return Choose(job, outputs);
}

Status MakeFolders(const std::vector<fs::path>& paths) {
  for (const fs::path& path : paths) {
    std::error_code error;
    fs::create_directories(path.parent_path(), error);
    if (error) {
      return Unavailable("{}: expected a folder that can be made, found: {}",
                         path.parent_path().string(), error.message());
    }
  }
  return {};
}

}  // namespace ingot
