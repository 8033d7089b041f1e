// sentencepiece's precompiled normaliser: a double-array trie from characters to replacements.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"

namespace ingot {

class Charsmap {
 public:
  // Blob: u32 size of the trie in bytes, its units (u32, little-endian, Darts-clone), then
  // NUL-terminated replacements. An empty blob replaces nothing.
  static Result<Charsmap> Parse(std::string_view blob);

  // `text` (UTF-8) as tokenizers' Precompiled normalises it: a grapheme below six bytes becomes
  // the replacement of its shortest known prefix; else each of its characters by itself.
  std::string Normalize(std::string_view text) const;

 private:
  std::optional<std::string_view> Find(std::string_view key) const;

  std::vector<uint32_t> units_;
  std::string replacements_;
};

}  // namespace ingot
