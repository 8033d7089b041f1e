// Sizes in bytes as people write and read them.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/status.h"

namespace ingot {

// "512MiB", "2GiB", "1.5GiB" (powers of 1024), "500MB" (powers of 1000), "4096B".
// A bare number is refused: nobody can tell which unit was meant.
Result<int64_t> ParseByteSize(std::string_view text);

// "82 MiB", "6.66 GiB": three figures at most.
std::string FormatByteSize(int64_t num_bytes);

}  // namespace ingot
