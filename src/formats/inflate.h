// Bytes that zlib or gzip has packed, to a bound: a kilobyte can ask for a gigabyte.
#pragma once

#include <string>
#include <string_view>

#include "base/status.h"

namespace ingot {

// kUnsupported when more than `max_bytes` come out, kCorruption when what is packed is damaged or
// ends early. `name` stands in errors.
Result<std::string> Inflate(std::string_view packed, size_t max_bytes, std::string_view name);

}  // namespace ingot
