// Reads the values of a binary header one after the other.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

#include "base/file.h"
#include "base/status.h"

namespace ingot {

// Little-endian values from the start of a file, through a small window. `what`
// names the value in errors. Never gives more than the file holds, and never
// moves beyond `max_bytes`: no count in a header makes the reader allocate more.
class HeaderCursor {
 public:
  HeaderCursor(const File& file, uint64_t max_bytes);

  uint64_t position() const { return position_; }

  template <typename T>
  Status Read(std::string_view what, T* value) {
    static_assert(std::is_arithmetic_v<T>);
    return ReadBytes(what, std::as_writable_bytes(std::span(value, 1)));
  }
  Status ReadBytes(std::string_view what, std::span<std::byte> out);

  // kCorruption unless `count` elements of at least `element_bytes` can follow.
  Status CheckRoom(std::string_view what, uint64_t count, uint64_t element_bytes) const;

 private:
  Status Refill();

  const File& file_;
  uint64_t limit_;
  uint64_t position_ = 0;
  std::vector<std::byte> window_;
  size_t window_used_ = 0;
};

}  // namespace ingot
