#include "engine/pictures.h"

#include <optional>
#include <span>

#include "engine/png_info.h"
#include "formats/exif.h"
#include "formats/inflate.h"
#include "formats/names.h"

namespace ingot {
namespace {

// Texts that are hidden in the lowest bits of alpha (NovelAI, "stealth pnginfo"): column after
// column, 15 bytes that name the form, 32 bits that count those of the text, the text.
constexpr size_t kNameBytes = 15;
constexpr std::string_view kPlain = "stealth_pnginfo", kPacked = "stealth_pngcomp";
constexpr size_t kMaxHiddenBytes = 4 << 20;

// The lowest bits of alpha, eight in a byte: a 64 MB picture leaves 2 MB of them.
struct AlphaBits {
  int width = 0, height = 0;
  std::vector<uint8_t> bits;  // by rows

  bool At(size_t i) const {  // in the order of columns
    const size_t x = i / static_cast<size_t>(height), y = i % static_cast<size_t>(height);
    const size_t at = y * static_cast<size_t>(width) + x;
    return (bits[at / 8] >> (at % 8) & 1) != 0;
  }
  size_t num_bytes() const { return static_cast<size_t>(width) * static_cast<size_t>(height) / 8; }
  std::string Bytes(size_t begin, size_t count) const {
    std::string bytes(count, '\0');
    for (size_t i = 0; i < count * 8; ++i) {
      if (At(begin * 8 + i)) bytes[i / 8] = static_cast<char>(bytes[i / 8] | 0x80 >> i % 8);
    }
    return bytes;
  }
};

std::optional<AlphaBits> ReadAlphaBits(std::string_view png) {
  AlphaBits alpha;
  const auto begin = [&](const PngHeader& header) -> Status {
    if (header.num_channels != 4) return Unsupported("no alpha");
    alpha.width = header.width;
    alpha.height = header.height;
    const int64_t num_pixels = int64_t{header.width} * header.height;
    alpha.bits.resize(static_cast<size_t>(num_pixels / 8 + 1));
    return {};
  };
  const auto row = [&](int y, std::span<const uint8_t> pixels) {
    const size_t start = static_cast<size_t>(y) * static_cast<size_t>(alpha.width);
    for (size_t x = 0; x < static_cast<size_t>(alpha.width); ++x) {
      const size_t at = start + x;
      alpha.bits[at / 8] =
          static_cast<uint8_t>(alpha.bits[at / 8] | (pixels[x * 4 + 3] & 1) << (at % 8));
    }
  };
  const auto bytes = std::as_bytes(std::span(png));
  if (!ReadPngRows(bytes, "alpha", {begin, row}).ok()) return std::nullopt;
  return alpha;
}

// NovelAI hides {"Description", "Comment", …}; others the text of A1111.
std::vector<PngText> ReadHiddenTexts(std::string_view png) {
  const std::optional<AlphaBits> alpha = ReadAlphaBits(png);
  if (!alpha || alpha->num_bytes() < kNameBytes + 4) return {};
  const std::string name = alpha->Bytes(0, kNameBytes);
  if (name != kPlain && name != kPacked) return {};
  size_t num_bits = 0;
  for (const char c : alpha->Bytes(kNameBytes, 4)) {
    num_bits = num_bits << 8 | static_cast<uint8_t>(c);
  }
  const size_t num_bytes = num_bits / 8;
  if (num_bytes > alpha->num_bytes() - kNameBytes - 4 || num_bytes > kMaxHiddenBytes) return {};
  std::string text = alpha->Bytes(kNameBytes + 4, num_bytes);
  if (name == kPacked) {
    Result<std::string> unpacked = Inflate(text, kMaxHiddenBytes, "hidden text");
    if (!unpacked.ok()) return {};
    text = *std::move(unpacked);
  }
  if (!IsUtf8(text)) return {};
  return {{text.starts_with("{") ? "hidden" : "parameters", text}};
}

}  // namespace

Result<std::vector<PngText>> ReadPictureTexts(std::string_view bytes, std::string_view name) {
  if (bytes.starts_with("\x89PNG")) {
    INGOT_ASSIGN_OR_RETURN(std::vector<PngText> texts, ReadPngTexts(bytes, name));
    return texts.empty() ? ReadHiddenTexts(bytes) : texts;
  }
  if (IsJpeg(bytes) || IsWebp(bytes)) return ReadExifTexts(bytes);
  return Unsupported("{}: expected a PNG, a JPEG or a WebP picture", name);
}

Result<std::string> SmallPicture(std::string_view png, std::string_view name, int max_side) {
  INGOT_ASSIGN_OR_RETURN(const PngPicture small,
                         ShrinkPng(std::as_bytes(std::span(png)), name, max_side));
  INGOT_ASSIGN_OR_RETURN(const std::vector<std::byte> bytes, EncodePng(small));
  return std::string(reinterpret_cast<const char*>(bytes.data()), bytes.size());
}

}  // namespace ingot
