// Files read by explicit calls: positioned reads that leave no page behind.
//
// Promise P6: tensor bytes reach planned memory by these reads and never by a
// mapping, so that memory is planned and a truncated file is an error, not a
// SIGBUS.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>

#include "base/status.h"

namespace ingot {

// An open regular file. Thread-safe: reads carry their own position.
class File {
 public:
  // kNotFound when there is no such file, kCorruption for a directory or a
  // device, kUnavailable when the system refuses (permission, I/O).
  static Result<std::shared_ptr<const File>> Open(const std::filesystem::path& path);
  ~File();
  File(const File&) = delete;
  File& operator=(const File&) = delete;

  const std::string& path() const { return path_; }
  uint64_t size_bytes() const { return size_bytes_; }

  // Fills `out` from `offset`. kCorruption names the file when it ends before.
  Status Read(uint64_t offset, std::span<std::byte> out) const;

  // Read, then tells the kernel that these pages are not wanted again, so that
  // a weight file does not push the user's own files out of memory.
  Status ReadAndDrop(uint64_t offset, std::span<std::byte> out) const;

 private:
  File(std::string path, int descriptor, uint64_t size_bytes)
      : path_(std::move(path)), descriptor_(descriptor), size_bytes_(size_bytes) {}

  std::string path_;
  int descriptor_;
  uint64_t size_bytes_;
};

// Whole small file (vocabularies, JSON); refuses one above `max_bytes`.
Result<std::string> ReadSmallFile(const std::filesystem::path& path, uint64_t max_bytes = 64 << 20);

// Writes a new file beside `path` and renames it over: a reader sees the old
// content or the new one, never half; nothing is left behind on failure.
class AtomicFile {
 public:
  // kInvalidArgument when `path` is a directory or a device (a rename would
  // replace it), kUnavailable when the system refuses.
  static Result<std::unique_ptr<AtomicFile>> Create(const std::filesystem::path& path);
  ~AtomicFile();  // removes the unfinished file unless committed
  AtomicFile(const AtomicFile&) = delete;
  AtomicFile& operator=(const AtomicFile&) = delete;

  Status Write(std::span<const std::byte> bytes);
  Status Commit();

 private:
  AtomicFile(std::string path, std::string temporary, int descriptor)
      : path_(std::move(path)), temporary_(std::move(temporary)), descriptor_(descriptor) {}

  std::string path_;
  std::string temporary_;
  int descriptor_;
};

}  // namespace ingot
