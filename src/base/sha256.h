// SHA-256 of bytes and of files, in lower-case hex.
#pragma once

#include <cstddef>
#include <filesystem>
#include <optional>
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

// What CachedSha256OfFile has remembered of this content; nothing before.
std::optional<std::string> RememberedSha256(const File& file,
                                            const std::filesystem::path& cache_folder);

// The same, remembered in `cache_folder` by the file's identity: a model of many GB is hashed once.
// A cache that cannot be read or written is no fault.
Result<std::string> CachedSha256OfFile(const File& file, const std::filesystem::path& cache_folder,
                                       std::stop_token stop);

}  // namespace ingot
