// JSON as the commands print it.
#pragma once

#include <cstdio>

#include "engine/json.h"

namespace ingot {

// One object on stdout.
inline void PrintJson(const Json& json) { std::printf("%s\n", Dump(json, 2).c_str()); }

}  // namespace ingot
