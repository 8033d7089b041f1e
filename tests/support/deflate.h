// Packs texts as zlib does, for tests of what unpacks them.
#pragma once

#include <zlib.h>

#include <string>

namespace ingot {

inline std::string Deflate(const std::string& text) {
  std::string packed(::compressBound(text.size()), '\0');
  uLongf size = packed.size();
  ::compress(reinterpret_cast<Bytef*>(packed.data()), &size,
             reinterpret_cast<const Bytef*>(text.data()), text.size());
  packed.resize(size);
  return packed;
}

}  // namespace ingot
