// JSON as the commands print it.
#pragma once

#include <cstdio>

#include <nlohmann/json.hpp>

namespace ingot {

using Json = nlohmann::ordered_json;  // keys stay in the order they are written

// One object on stdout. Paths and tensor names may be any bytes: what is not
// UTF-8 is replaced, where dump() by itself throws.
inline void PrintJson(const Json& json) {
  std::printf("%s\n", json.dump(2, ' ', false, Json::error_handler_t::replace).c_str());
}

}  // namespace ingot
