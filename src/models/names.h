// What the translations of tensor names have in common.
#pragma once

#include <initializer_list>
#include <string>
#include <string_view>

namespace ingot {

// `name` without the first of `prefixes` that it begins with; as it is when
// there is none.
inline std::string_view WithoutPrefix(std::string_view name,
                                      std::initializer_list<std::string_view> prefixes) {
  for (std::string_view prefix : prefixes) {
    if (name.starts_with(prefix)) return name.substr(prefix.size());
  }
  return name;
}

inline bool BeginsWithAny(std::string_view name, std::initializer_list<std::string_view> prefixes) {
  for (std::string_view prefix : prefixes) {
    if (name.starts_with(prefix)) return true;
  }
  return false;
}

// Two spellings of one part of a name.
struct Renaming {
  std::string_view from;
  std::string_view to;
};

// Replaces the first `from` that `name` begins with by its `to`; false when
// there is none.
inline bool RenamePrefix(std::string& name, std::initializer_list<Renaming> renamings) {
  for (const Renaming& renaming : renamings) {
    if (!name.starts_with(renaming.from)) continue;
    name.replace(0, renaming.from.size(), renaming.to);
    return true;
  }
  return false;
}

}  // namespace ingot
