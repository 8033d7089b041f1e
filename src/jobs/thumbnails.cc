#include "jobs/thumbnails.h"

#include <algorithm>
#include <array>
#include <span>
#include <system_error>
#include <vector>

#include "base/file.h"
#include "engine/pictures.h"
#include "jobs/worker_protocol.h"

namespace ingot {
namespace {

namespace fs = std::filesystem;

constexpr std::array kSides = {128, 256, 512};
constexpr uint64_t kMaxPictureBytes = uint64_t{1} << 30;

}  // namespace

fs::path Thumbnails::PathOf(const JobRow& row, size_t n, int side) const {
  return folder_ / fmt::format("{}-{}-{}.png", row.id, n, side);
}

Result<std::string> Thumbnails::Get(const JobRow& row, size_t n, int side) {
  const Json images = row.record.is_object() ? row.record.value("images", Json()) : Json();
  if (n >= images.size()) {
    return NotFound("job {}: has {} pictures, found no {}", row.id, images.size(), n);
  }
  const auto* const next = std::ranges::find_if(kSides, [&](int one) { return one >= side; });
  side = next == kSides.end() ? kSides.back() : *next;
  const fs::path path = PathOf(row, n, side);
  Result<std::string> kept = ReadSmallFile(path);
  if (kept.ok()) return kept;
  INGOT_ASSIGN_OR_RETURN(const std::string picture,
                         ReadSmallFile(TextOf(images[n], "path"), kMaxPictureBytes));
  INGOT_ASSIGN_OR_RETURN(std::string png, SmallPicture(picture, path.filename().string(), side));
  Keep(path, png);
  return png;
}

void Thumbnails::Remove(const JobRow& row) {
  std::error_code error;
  for (size_t n = 0; n < static_cast<size_t>(row.num_images); ++n) {
    for (const int side : kSides) fs::remove(PathOf(row, n, side), error);
  }
}

// A disk that is full or read-only costs time and no picture.
void Thumbnails::Keep(const fs::path& path, const std::string& png) {
  std::error_code error;
  fs::create_directories(folder_, error);
  const auto file = AtomicFile::Create(path);
  if (!file.ok() || !(*file)->Write(std::as_bytes(std::span(png))).ok()) return;
  if (!(*file)->Commit().ok()) return;
  const std::lock_guard lock(mutex_);
  if (num_bytes_ >= 0) num_bytes_ += static_cast<int64_t>(png.size());
  if (num_bytes_ < 0 || num_bytes_ > max_bytes_) MakeRoom();
}

void Thumbnails::MakeRoom() {
  struct Kept {
    fs::path path;
    fs::file_time_type time;
    int64_t num_bytes = 0;
  };
  std::vector<Kept> all;
  std::error_code error;
  num_bytes_ = 0;
  for (fs::directory_iterator at(folder_, error), end; !error && at != end; at.increment(error)) {
    std::error_code gone;
    Kept kept{at->path(), at->last_write_time(gone), 0};
    kept.num_bytes = static_cast<int64_t>(at->file_size(gone));
    if (gone) continue;
    num_bytes_ += kept.num_bytes;
    all.push_back(std::move(kept));
  }
  if (num_bytes_ <= max_bytes_) return;
  std::ranges::sort(all, {}, &Kept::time);
  for (const Kept& kept : all) {
    if (num_bytes_ <= max_bytes_ - max_bytes_ / 4) return;
    if (fs::remove(kept.path, error)) num_bytes_ -= kept.num_bytes;
  }
}

}  // namespace ingot
