// SHA-256 of bytes and of files, in lower-case hex.
#pragma once

#include <cstddef>
#include <span>
#include <stop_token>
#include <string>

#include "base/file.h"
#include "base/status.h"

namespace ingot {

std::string Sha256(std::span<const std::byte> bytes);

// Reads the whole file and keeps none of it in the page cache. kCancelled when
// `stop` is requested: looked at every 4 MiB, about 3 ms.
Result<std::string> Sha256OfFile(const File& file, std::stop_token stop);

}  // namespace ingot
