// SHA-256 of bytes and of files, in lower-case hex.
#pragma once

#include <chrono>
#include <cstddef>
#include <filesystem>
#include <memory>
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

// The same little by little, for who must not be kept waiting.
class FileSha256 {
 public:
  explicit FileSha256(std::shared_ptr<const File> file);
  ~FileSha256();

  // Reads on for about `time`, a read of 256 KiB more at most; the hash when all is read.
  // kCorruption when the file was written to meanwhile.
  Result<std::optional<std::string>> Continue(std::chrono::milliseconds time);

  const File& file() const { return *file_; }

  class Digest;  // of bytes

 private:
  const std::shared_ptr<const File> file_;
  const std::unique_ptr<Digest> digest_;
  uint64_t offset_ = 0;
};

// What CachedSha256OfFile has remembered of this content; nothing before.
std::optional<std::string> RememberedSha256(const File& file,
                                            const std::filesystem::path& cache_folder);

// For RememberedSha256. A cache that cannot be written is no fault.
void RememberSha256(const File& file, const std::filesystem::path& cache_folder,
                    const std::string& sha256);

// Sha256OfFile, remembered in `cache_folder` by the file's identity: a model of many GB is hashed
// once. A cache that cannot be read or written is no fault.
Result<std::string> CachedSha256OfFile(const File& file, const std::filesystem::path& cache_folder,
                                       std::stop_token stop);

}  // namespace ingot
