// PNG pictures with their text chunks, to bytes and back.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"

namespace ingot {

struct PngText {
  std::string key;   // 1 to 79 bytes; "parameters" in the files of A1111 and Forge
  std::string text;  // UTF-8 without NUL
  bool operator==(const PngText&) const = default;
};

struct PngPicture {
  int width = 0;
  int height = 0;
  int num_channels = 3;         // 3: RGB, 4: RGBA
  std::vector<uint8_t> pixels;  // [height, width, num_channels]
  std::vector<PngText> texts;
};

// Pictures of more pixels are refused, to read as to write.
inline constexpr int kMaxPngSide = 16384;
inline constexpr int64_t kMaxPngPixels = 64 << 20;

// A text is a tEXt chunk where Latin-1 can hold it, else iTXt in UTF-8: what PIL
// writes, and so what readers of A1111's files look for. kInvalidArgument for a
// bad size, key or text.
Result<std::vector<std::byte>> EncodePng(const PngPicture& picture);

// Any PNG as 8 bits a channel, grey and palette as RGB(A). `name` stands in
// errors. kCorruption for a damaged file, kUnsupported for one too large.
Result<PngPicture> DecodePng(std::span<const std::byte> bytes, std::string_view name);

}  // namespace ingot
