#include "formats/header_cursor.h"

#include <algorithm>
#include <bit>
#include <cstring>

namespace ingot {

static_assert(std::endian::native == std::endian::little);

HeaderCursor::HeaderCursor(const File& file, uint64_t max_bytes)
    : file_(file), limit_(std::min(file.size_bytes(), max_bytes)) {}

Status HeaderCursor::CheckRoom(std::string_view what, uint64_t count,
                               uint64_t element_bytes) const {
  const uint64_t left = limit_ - position_;
  if (count <= left / element_bytes) return {};
  return Corruption("{}: {}: expected {} x {} bytes at offset {}, found {} before the {}",
                    file_.path(), what, count, element_bytes, position_, left,
                    limit_ < file_.size_bytes() ? "limit of a header" : "end of the file");
}

Status HeaderCursor::ReadBytes(std::string_view what, std::span<std::byte> out) {
  INGOT_RETURN_IF_ERROR(CheckRoom(what, out.size(), 1));
  while (!out.empty()) {
    if (window_used_ == window_.size()) INGOT_RETURN_IF_ERROR(Refill());
    const size_t count = std::min(out.size(), window_.size() - window_used_);
    std::memcpy(out.data(), window_.data() + window_used_, count);
    window_used_ += count;
    position_ += count;
    out = out.subspan(count);
  }
  return {};
}

Status HeaderCursor::Refill() {
  constexpr uint64_t kWindowBytes = 64 << 10;
  window_.resize(std::min(kWindowBytes, limit_ - position_));
  window_used_ = 0;
  return file_.Read(position_, window_);
}

}  // namespace ingot
