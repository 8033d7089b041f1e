#include "formats/exif.h"

#include <utf8proc.h>

#include <algorithm>
#include <optional>

#include "formats/names.h"

namespace ingot {
namespace {

constexpr std::string_view kExif("Exif\0\0", 6);
constexpr int kMaxTags = 256;  // of a directory
constexpr size_t kMaxTextBytes = 4 << 20;

enum Tag : uint16_t {
  kImageDescription = 0x010e,
  kMake = 0x010f,
  kModel = 0x0110,
  kSoftware = 0x0131,
  kExifDirectory = 0x8769,
  kUserComment = 0x9286,
};

// TIFF: numbers in the order that its first two bytes say, at offsets from its begin.
class Tiff {
 public:
  static std::optional<Tiff> Open(std::string_view bytes) {
    if (bytes.starts_with(kExif)) bytes.remove_prefix(kExif.size());
    if (bytes.starts_with(std::string_view("II*\0", 4))) return Tiff(bytes, /*is_little=*/true);
    if (bytes.starts_with(std::string_view("MM\0*", 4))) return Tiff(bytes, /*is_little=*/false);
    return std::nullopt;
  }

  bool is_little() const { return is_little_; }

  // Zero beyond the end: an empty directory, a text of no bytes.
  uint32_t Number(size_t at, size_t num_bytes) const {
    if (at > bytes_.size() || bytes_.size() - at < num_bytes) return 0;
    uint32_t value = 0;
    for (size_t i = 0; i < num_bytes; ++i) {
      const size_t from = is_little_ ? num_bytes - 1 - i : i;
      value = value << 8 | static_cast<uint8_t>(bytes_[at + from]);
    }
    return value;
  }

  // visit(tag, value's bytes, value as a number) for each entry of the directory at `at`.
  template <typename Visit>
  void ForEachTag(size_t at, const Visit& visit) const {
    const int num_tags = std::min<int>(static_cast<int>(Number(at, 2)), kMaxTags);
    for (int i = 0; i < num_tags; ++i) {
      const size_t entry = at + 2 + static_cast<size_t>(i) * 12;
      const uint32_t type = Number(entry + 2, 2), count = Number(entry + 4, 4);
      const bool is_bytes = type == 1 || type == 2 || type == 7;  // byte, ASCII, undefined
      const size_t begin = count <= 4 ? entry + 8 : Number(entry + 8, 4);
      std::string_view value;
      if (is_bytes && begin <= bytes_.size() && count <= bytes_.size() - begin) {
        value = bytes_.substr(begin, std::min<size_t>(count, kMaxTextBytes));
      }
      visit(static_cast<uint16_t>(Number(entry, 2)), value, Number(entry + 8, 4));
    }
  }

 private:
  Tiff(std::string_view bytes, bool is_little) : bytes_(bytes), is_little_(is_little) {}

  std::string_view bytes_;
  bool is_little_;
};

std::string FromUtf16(std::string_view bytes, bool is_little) {
  const auto unit = [&](size_t i) {
    const auto a = static_cast<uint8_t>(bytes[i]), b = static_cast<uint8_t>(bytes[i + 1]);
    return static_cast<utf8proc_int32_t>(is_little ? b << 8 | a : a << 8 | b);
  };
  std::string text;
  for (size_t i = 0; i + 1 < bytes.size(); i += 2) {
    utf8proc_int32_t codepoint = unit(i);
    if (codepoint == 0) continue;
    if ((codepoint & 0xfc00) == 0xd800 && i + 3 < bytes.size() &&
        (unit(i + 2) & 0xfc00) == 0xdc00) {
      codepoint = 0x10000 + ((codepoint & 0x3ff) << 10) + (unit(i + 2) & 0x3ff);
      i += 2;
    } else if ((codepoint & 0xf800) == 0xd800) {
      codepoint = 0xfffd;
    }
    utf8proc_uint8_t utf8[4];
    const utf8proc_ssize_t count = utf8proc_encode_char(codepoint, utf8);
    text.append(reinterpret_cast<const char*>(utf8), static_cast<size_t>(count));
  }
  return text;
}

// UTF-8 as it is, else as Latin-1; without the NULs at the end.
std::string FromBytes(std::string_view bytes) {
  bytes = bytes.substr(0, bytes.find('\0'));
  if (IsUtf8(bytes)) return std::string(bytes);
  std::string utf16;
  for (const char c : bytes) utf16 += {'\0', c};
  return FromUtf16(utf16, /*is_little=*/false);
}

// Eight bytes say how the rest is written. piexif, which A1111 uses, writes UTF-16 with the high
// byte first whatever the order of the TIFF; others follow the TIFF. The zeros of Latin text
// decide.
std::string FromUserComment(std::string_view value, bool is_little) {
  if (value.size() < 8) return {};
  const std::string_view code = value.substr(0, 8), text = value.substr(8);
  if (code != std::string_view("UNICODE\0", 8)) return FromBytes(text);
  size_t high_first = 0, low_first = 0;
  for (size_t i = 0; i + 1 < text.size(); i += 2) {
    high_first += text[i] == 0 ? 1 : 0;
    low_first += text[i + 1] == 0 ? 1 : 0;
  }
  return FromUtf16(text, low_first == high_first ? is_little : low_first > high_first);
}

void AddTiffTexts(std::string_view bytes, std::vector<PngText>& texts) {
  const std::optional<Tiff> tiff = Tiff::Open(bytes);
  if (!tiff) return;
  const auto add = [&](const char* key, std::string text) {
    if (!text.empty()) texts.push_back({key, std::move(text)});
  };
  // ComfyUI writes "prompt:{…}" and "workflow:{…}" into any of the two.
  const auto add_comfy = [&](std::string text) {
    const size_t colon = text.find(':');
    for (const char* key : {"prompt", "workflow"}) {
      if (text.substr(0, colon) == key) return add(key, text.substr(colon + 1));
    }
  };
  size_t exif = 0;
  tiff->ForEachTag(tiff->Number(4, 4), [&](uint16_t tag, std::string_view value, uint32_t number) {
    if (tag == kExifDirectory) exif = number;
    if (tag == kSoftware) add("Software", FromBytes(value));
    if (tag == kImageDescription) add("Description", FromBytes(value));
    if (tag == kMake || tag == kModel) add_comfy(FromBytes(value));
  });
  if (exif == 0) return;
  tiff->ForEachTag(exif, [&](uint16_t tag, std::string_view value, uint32_t) {
    if (tag == kUserComment) add("parameters", FromUserComment(value, tiff->is_little()));
  });
}

// Segments up to the pixels: FF, marker, length of two bytes that counts itself.
void AddJpegTexts(std::string_view bytes, std::vector<PngText>& texts) {
  constexpr uint8_t kApp1 = 0xe1, kComment = 0xfe, kScan = 0xda;
  for (size_t at = 2; at + 4 <= bytes.size();) {
    if (static_cast<uint8_t>(bytes[at]) != 0xff) return;
    const auto marker = static_cast<uint8_t>(bytes[at + 1]);
    if (marker == 0xff) {  // fill
      ++at;
      continue;
    }
    const size_t length = static_cast<size_t>(static_cast<uint8_t>(bytes[at + 2])) << 8 |
                          static_cast<uint8_t>(bytes[at + 3]);
    if (marker == kScan || length < 2 || length > bytes.size() - at - 2) return;
    const std::string_view data = bytes.substr(at + 4, length - 2);
    if (marker == kApp1 && data.starts_with(kExif)) AddTiffTexts(data, texts);
    if (marker == kComment) texts.push_back({"Comment", FromBytes(data)});
    at += 2 + length;
  }
}

// RIFF chunks: name, length with the low byte first, data, a byte of fill after odd lengths.
void AddWebpTexts(std::string_view bytes, std::vector<PngText>& texts) {
  for (size_t at = 12; at + 8 <= bytes.size();) {
    size_t length = 0;
    for (size_t i = 4; i-- > 0;) length = length << 8 | static_cast<uint8_t>(bytes[at + 4 + i]);
    if (length > bytes.size() - at - 8) return;
    if (bytes.substr(at, 4) == "EXIF") AddTiffTexts(bytes.substr(at + 8, length), texts);
    at += 8 + length + length % 2;
  }
}

}  // namespace

bool IsJpeg(std::string_view bytes) { return bytes.starts_with("\xff\xd8\xff"); }
bool IsWebp(std::string_view bytes) {
  return bytes.starts_with("RIFF") && bytes.size() >= 12 && bytes.substr(8, 4) == "WEBP";
}

std::vector<PngText> ReadExifTexts(std::string_view bytes) {
  std::vector<PngText> texts;
  if (IsJpeg(bytes)) AddJpegTexts(bytes, texts);
  if (IsWebp(bytes)) AddWebpTexts(bytes, texts);
  return texts;
}

}  // namespace ingot
