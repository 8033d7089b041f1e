#include "formats/names.h"

#include <fmt/format.h>
#include <utf8proc.h>

namespace ingot {

bool IsUtf8(std::string_view text) {
  const auto* bytes = reinterpret_cast<const utf8proc_uint8_t*>(text.data());
  auto left = static_cast<utf8proc_ssize_t>(text.size());
  while (left > 0) {
    utf8proc_int32_t codepoint;
    const utf8proc_ssize_t length = utf8proc_iterate(bytes, left, &codepoint);
    if (length <= 0) return false;
    bytes += length;
    left -= length;
  }
  return true;
}

std::string Quoted(std::string_view name) {
  constexpr size_t kMaxBytes = 120;
  if (name.size() <= kMaxBytes) return fmt::format("{:?}", name);
  return fmt::format("{:?}... ({} bytes)", name.substr(0, kMaxBytes), name.size());
}

}  // namespace ingot
