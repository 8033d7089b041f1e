// PNG pictures with their text chunks, to bytes and back.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
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

struct PngHeader {
  int width = 0, height = 0;
  int num_channels = 3;
};
// Hears the header, then every row from the top; an error of `begin` ends the reading.
struct PngRowSink {
  std::function<Status(const PngHeader&)> begin;
  std::function<void(int y, std::span<const uint8_t> row)> row;
};
// As DecodePng, with one row in memory at a time. kUnsupported for an interlaced picture, whose
// rows do not come in order.
Status ReadPngRows(std::span<const std::byte> bytes, std::string_view name, const PngRowSink& sink);

// A picture with no side above `max_side`: each pixel is the mean of those it stands for. One that
// is small enough keeps its size. Texts are left out.
Result<PngPicture> ShrinkPng(std::span<const std::byte> bytes, std::string_view name, int max_side);

}  // namespace ingot
