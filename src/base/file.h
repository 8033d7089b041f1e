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
#include <stop_token>
#include <string>

#include "base/status.h"

struct stat;

namespace ingot {

// What a direct read is aligned to, in memory and in the file. No disk asks for more.
inline constexpr int64_t kPageBytes = 4096;

// Bytes of the whole pages of a file that hold [offset, offset + num_bytes).
int64_t PagesBytes(uint64_t offset, int64_t num_bytes);

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
  uint64_t size_bytes() const { return version_.size_bytes; }

  // Device, inode, size and time of change, of this version of the content.
  std::string identity() const;

  // kCorruption when the content was written to since it was opened.
  Status CheckUnchanged() const;

  // Fills `out` from `offset`. kCorruption names the file when it ends before.
  Status Read(uint64_t offset, std::span<std::byte> out) const;

  // Read, then tells the kernel that these pages are not wanted again, so that
  // a weight file does not push the user's own files out of memory.
  Status ReadAndDrop(uint64_t offset, std::span<std::byte> out) const;

  // Reads [offset, offset + num_bytes) past the page cache, from the disk into `pages`, with all of
  // the first page and the last: offset stands at pages[offset % kPageBytes]. pages.size() is
  // PagesBytes(offset, num_bytes). Reads and drops instead where the file system refuses or `pages`
  // is not aligned to kPageBytes. Looks at `stop` every 4 MiB: kCancelled. kCorruption names the
  // file when it ends before or was written to since it was opened. (A new file under its
  // name is no fault: the opened one is whole, and read to its end.)
  Status ReadPages(uint64_t offset, int64_t num_bytes, std::span<std::byte> pages,
                   std::stop_token stop) const;

 private:
  // Of a file whose content was not touched both stay the same.
  struct Version {
    uint64_t size_bytes = 0;
    int64_t modified_ns = 0;
    friend bool operator==(const Version&, const Version&) = default;
  };
  File(std::string path, int descriptor, const Version& version);
  static Version VersionOf(const struct stat& info);
  Status EndOfFile(uint64_t offset, size_t num_bytes) const;
  Status ReadPagesCached(uint64_t offset, std::span<std::byte> out, std::stop_token stop) const;

  std::string path_;
  int descriptor_;
  int direct_descriptor_;  // of the same file, past the page cache; -1 where there is no such way
  Version version_;        // when it was opened
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
