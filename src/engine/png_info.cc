#include "engine/png_info.h"

#include <algorithm>
#include <cstdint>
#include <optional>

#include "formats/inflate.h"
#include "formats/names.h"

namespace ingot {
namespace {

constexpr std::string_view kSignature("\x89PNG\r\n\x1a\n", 8);

uint32_t ReadBigEndian(std::string_view bytes) {
  uint32_t value = 0;
  for (size_t i = 0; i < 4; ++i) value = value << 8 | static_cast<uint8_t>(bytes[i]);
  return value;
}

// ISO 3309, as zlib's crc32; texts are short, so bit by bit.
uint32_t Crc32(std::string_view bytes) {
  uint32_t crc = 0xffffffff;
  for (char c : bytes) {
    crc ^= static_cast<uint8_t>(c);
    for (int bit = 0; bit < 8; ++bit) crc = crc >> 1 ^ (0xedb88320 & (0 - (crc & 1)));
  }
  return ~crc;
}

std::string Latin1ToUtf8(std::string_view text) {
  std::string utf8;
  for (char c : text) {
    const auto byte = static_cast<uint8_t>(c);
    if (byte < 0x80) {
      utf8 += c;
    } else {
      utf8 += static_cast<char>(0xc0 | byte >> 6);
      utf8 += static_cast<char>(0x80 | (byte & 0x3f));
    }
  }
  return utf8;
}

// What stands before the next NUL, which is taken away with it.
std::optional<std::string_view> TakeTerminated(std::string_view& data) {
  const size_t end = data.find('\0');
  if (end == std::string_view::npos) return std::nullopt;
  const std::string_view taken = data.substr(0, end);
  data.remove_prefix(end + 1);
  return taken;
}

// PNG specification 11.3.4: key NUL text.
std::optional<PngText> ParseText(std::string_view data) {
  const auto key = TakeTerminated(data);
  if (!key) return std::nullopt;
  return PngText{Latin1ToUtf8(*key), Latin1ToUtf8(data)};
}

// Unpacks texts until they are too many bytes.
class Inflater {
 public:
  std::optional<std::string> Inflate(std::string_view packed) {
    Result<std::string> text = ingot::Inflate(packed, std::min(kMaxInflatedText, rest_), "text");
    if (!text.ok()) return std::nullopt;
    rest_ -= text->size();
    return *std::move(text);
  }

 private:
  size_t rest_ = kMaxInflatedTexts;
};

// key NUL method packed.
std::optional<PngText> ParseCompressedText(std::string_view data, Inflater& inflater) {
  const auto key = TakeTerminated(data);
  if (!key || data.empty() || data[0] != 0) return std::nullopt;
  const auto text = inflater.Inflate(data.substr(1));
  if (!text) return std::nullopt;
  return PngText{Latin1ToUtf8(*key), Latin1ToUtf8(*text)};
}

// key NUL flag method language NUL translated NUL text.
std::optional<PngText> ParseInternationalText(std::string_view data, Inflater& inflater) {
  const auto key = TakeTerminated(data);
  if (!key || data.size() < 2 || data[1] != 0) return std::nullopt;
  const bool is_packed = data[0] == 1;
  data.remove_prefix(2);
  if (!TakeTerminated(data) || !TakeTerminated(data)) return std::nullopt;
  const auto text = is_packed ? inflater.Inflate(data) : std::optional(std::string(data));
  if (!text || !IsUtf8(*text)) return std::nullopt;
  return PngText{Latin1ToUtf8(*key), *text};
}

}  // namespace

Result<std::vector<PngText>> ReadPngTexts(std::string_view bytes, std::string_view name) {
  if (!bytes.starts_with(kSignature)) return Corruption("{}: expected a PNG", name);
  std::vector<PngText> texts;
  Inflater inflater;
  size_t at = kSignature.size();
  while (true) {
    if (bytes.size() - at < 12) return Corruption("{}: ends at byte {}, in a chunk", name, at);
    const uint64_t num_bytes = ReadBigEndian(bytes.substr(at));
    if (num_bytes > bytes.size() - at - 12) {
      return Corruption("{}: chunk at {} is {} bytes long, {} are there", name, at, num_bytes,
                        bytes.size() - at - 12);
    }
    const std::string_view type = bytes.substr(at + 4, 4);
    const std::string_view data = bytes.substr(at + 8, num_bytes);
    if (type == "IEND") return texts;
    if (type == "tEXt" || type == "iTXt" || type == "zTXt") {
      if (Crc32(bytes.substr(at + 4, num_bytes + 4)) !=
          ReadBigEndian(bytes.substr(at + 8 + num_bytes))) {
        return Corruption("{}: the text at {} has a wrong checksum", name, at);
      }
      const auto text = type == "tEXt"   ? ParseText(data)
                        : type == "zTXt" ? ParseCompressedText(data, inflater)
                                         : ParseInternationalText(data, inflater);
      if (text) texts.push_back(*text);
    }
    at += 12 + num_bytes;
  }
}

}  // namespace ingot
