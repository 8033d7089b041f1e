// Lookup in the Darts double array, and normalisation by graphemes.
#include "text/charsmap.h"

#include "text/unicode.h"

namespace ingot {
namespace {

// Units as Darts-clone lays them out (darts.h, class DoubleArrayUnit).
bool HasLeaf(uint32_t unit) { return (unit >> 8) & 1; }
uint32_t Value(uint32_t unit) { return unit & 0x7fffffffu; }
uint32_t Label(uint32_t unit) { return unit & 0x800000ffu; }
uint32_t Offset(uint32_t unit) { return (unit >> 10) << ((unit & (1u << 9)) >> 6); }

uint32_t ReadLittleEndian(std::string_view bytes, size_t at) {
  uint32_t value = 0;
  for (size_t i = 0; i < 4; ++i) value |= uint32_t{static_cast<uint8_t>(bytes[at + i])} << (8 * i);
  return value;
}

// A grapheme of six bytes or more is never looked up whole (tokenizers, precompiled.rs).
constexpr size_t kMaxGraphemeBytes = 5;

}  // namespace

Result<Charsmap> Charsmap::Parse(std::string_view blob) {
  Charsmap map;
  if (blob.empty()) return map;
  if (blob.size() < 4) return Corruption("charsmap: 4 bytes expected, found {}", blob.size());
  const uint32_t trie_bytes = ReadLittleEndian(blob, 0);
  if (trie_bytes == 0 || trie_bytes % 4 != 0 || trie_bytes > blob.size() - 4) {
    return Corruption("charsmap: trie of {} bytes in {} bytes", trie_bytes, blob.size());
  }
  for (size_t at = 4; at < 4 + size_t{trie_bytes}; at += 4) {
    map.units_.push_back(ReadLittleEndian(blob, at));
  }
  map.replacements_ = blob.substr(4 + size_t{trie_bytes});
  return map;
}

std::optional<std::string_view> Charsmap::Find(std::string_view key) const {
  if (units_.empty()) return std::nullopt;
  size_t node = Offset(units_[0]);
  for (const char c : key) {
    const auto byte = static_cast<uint8_t>(c);
    node ^= byte;
    if (byte == 0 || node >= units_.size() || Label(units_[node]) != byte) return std::nullopt;
    const bool has_leaf = HasLeaf(units_[node]);
    node ^= Offset(units_[node]);
    if (!has_leaf) continue;
    if (node >= units_.size()) return std::nullopt;
    const size_t start = Value(units_[node]);
    if (start > replacements_.size()) return std::nullopt;
    const std::string_view rest = std::string_view(replacements_).substr(start);
    return rest.substr(0, rest.find('\0'));
  }
  return std::nullopt;
}

std::string Charsmap::Normalize(std::string_view text) const {
  const std::u32string characters = DecodeUtf8(text);
  std::string out;
  for (std::u32string_view rest = characters; !rest.empty();) {
    const std::u32string_view cluster = rest.substr(0, GraphemeLength(rest));
    rest.remove_prefix(cluster.size());
    const std::string grapheme = EncodeUtf8(cluster);
    if (grapheme.size() <= kMaxGraphemeBytes) {
      if (const auto replacement = Find(grapheme)) {
        out += *replacement;
        continue;
      }
    }
    for (const char32_t c : cluster) {
      const std::string character = EncodeUtf8({&c, 1});
      out += Find(character).value_or(character);
    }
  }
  return out;
}

}  // namespace ingot
