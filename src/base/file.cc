#include "base/file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

namespace ingot {
namespace {

Status SystemError(const std::string& path, const char* action) {
  const int error = errno;
  if (error == ENOENT || error == ENOTDIR) {
    return NotFound("{}: expected a file, found none", path);
  }
  return Unavailable("{}: cannot {}: {}", path, action, std::strerror(error));
}

constexpr size_t kPieceBytes = 4 << 20;  // 80 ms of a hard disk at 50 MB/s

uint64_t RoundDownToPage(uint64_t offset) {
  return offset - offset % static_cast<uint64_t>(kPageBytes);
}

}  // namespace

int64_t PagesBytes(uint64_t offset, int64_t num_bytes) {
  const uint64_t end = offset + static_cast<uint64_t>(num_bytes) + kPageBytes - 1;
  return static_cast<int64_t>(RoundDownToPage(end) - RoundDownToPage(offset));
}

Result<std::shared_ptr<const File>> File::Open(const std::filesystem::path& path) {
  // O_NONBLOCK: opening a named pipe must fail below, not hang.
  const int descriptor = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (descriptor < 0) return SystemError(path.string(), "open");
  struct stat info;
  if (::fstat(descriptor, &info) != 0) {
    const Status status = SystemError(path.string(), "stat");
    ::close(descriptor);
    return status;
  }
  if (!S_ISREG(info.st_mode)) {
    ::close(descriptor);
    return Corruption("{}: expected a regular file, found a {}", path.string(),
                      S_ISDIR(info.st_mode) ? "directory" : "special file");
  }
  return std::shared_ptr<const File>(new File(path.string(), descriptor, VersionOf(info)));
}

File::File(std::string path, int descriptor, const Version& version)
    : path_(std::move(path)), descriptor_(descriptor), version_(version) {
  // By the descriptor, not by the name: the name may be another file's by now.
  const std::string same_file = fmt::format("/proc/self/fd/{}", descriptor);
  direct_descriptor_ = ::open(same_file.c_str(), O_RDONLY | O_CLOEXEC | O_DIRECT);
}

File::~File() {
  if (direct_descriptor_ >= 0) ::close(direct_descriptor_);
  ::close(descriptor_);
}

File::Version File::VersionOf(const struct stat& info) {
  return {static_cast<uint64_t>(info.st_size),
          int64_t{info.st_mtim.tv_sec} * 1'000'000'000 + info.st_mtim.tv_nsec};
}

Status File::CheckUnchanged() const {
  struct stat info;
  if (::fstat(descriptor_, &info) != 0) return SystemError(path_, "stat");
  const Version now = VersionOf(info);
  if (now == version_) return {};
  return Corruption(
      "{}: expected {} bytes that nobody writes to while they are read, found {} bytes{}", path_,
      version_.size_bytes, now.size_bytes,
      now.size_bytes == version_.size_bytes ? " written since" : "");
}

Status File::EndOfFile(uint64_t offset, size_t num_bytes) const {
  INGOT_RETURN_IF_ERROR(CheckUnchanged());
  return Corruption("{}: expected {} more bytes at offset {}, found the end of the file", path_,
                    num_bytes, offset);
}

std::string File::identity() const {
  struct stat info = {};
  ::fstat(descriptor_, &info);
  return fmt::format("{:x}-{:x}-{:x}-{:x}", info.st_dev, info.st_ino, version_.size_bytes,
                     version_.modified_ns);
}

Status File::Read(uint64_t offset, std::span<std::byte> out) const {
  while (!out.empty()) {
    const ssize_t count = ::pread(descriptor_, out.data(), out.size(), static_cast<off_t>(offset));
    if (count < 0) {
      if (errno == EINTR) continue;
      return SystemError(path_, "read");
    }
    if (count == 0) return EndOfFile(offset, out.size());
    offset += static_cast<uint64_t>(count);
    out = out.subspan(static_cast<size_t>(count));
  }
  return {};
}

Status File::ReadAndDrop(uint64_t offset, std::span<std::byte> out) const {
  // In pieces: the dropped window stays small beside any budget.
  while (!out.empty()) {
    const size_t count = std::min(kPieceBytes, out.size());
    INGOT_RETURN_IF_ERROR(Read(offset, out.first(count)));
    ::posix_fadvise(descriptor_, static_cast<off_t>(offset), static_cast<off_t>(count),
                    POSIX_FADV_DONTNEED);
    offset += count;
    out = out.subspan(count);
  }
  return {};
}

Status File::ReadPages(uint64_t offset, int64_t num_bytes, std::span<std::byte> pages,
                       std::stop_token stop) const {
  const uint64_t begin = RoundDownToPage(offset), end = offset + static_cast<uint64_t>(num_bytes);
  INGOT_CHECK(static_cast<int64_t>(pages.size()) == PagesBytes(offset, num_bytes));
  const bool is_direct = direct_descriptor_ >= 0 &&
                         reinterpret_cast<uintptr_t>(pages.data()) % uint64_t{kPageBytes} == 0;
  uint64_t at = is_direct ? begin : offset;
  while (is_direct && at < end) {
    if (stop.stop_requested()) return Cancelled("{}: reading was cancelled", path_);
    const std::span<std::byte> rest = pages.subspan(at - begin);
    const ssize_t count = ::pread(direct_descriptor_, rest.data(),
                                  std::min(kPieceBytes, rest.size()), static_cast<off_t>(at));
    if (count < 0 && errno == EINTR) continue;
    if (count < 0 && errno == EINVAL) break;  // a file system that only opens files so
    if (count < 0) return SystemError(path_, "read");
    const uint64_t found = at + static_cast<uint64_t>(count);
    if (found < end && RoundDownToPage(found) == at) return EndOfFile(found, end - found);
    at = found < end ? RoundDownToPage(found) : end;
  }
  at = std::max(at, offset);
  INGOT_RETURN_IF_ERROR(ReadPagesCached(at, pages.subspan(at - begin, end - at), stop));
  return CheckUnchanged();
}

Status File::ReadPagesCached(uint64_t offset, std::span<std::byte> out,
                             std::stop_token stop) const {
  while (!out.empty()) {
    if (stop.stop_requested()) return Cancelled("{}: reading was cancelled", path_);
    const size_t count = std::min(kPieceBytes, out.size());
    INGOT_RETURN_IF_ERROR(ReadAndDrop(offset, out.first(count)));
    offset += count;
    out = out.subspan(count);
  }
  return {};
}

Result<std::string> ReadSmallFile(const std::filesystem::path& path, uint64_t max_bytes) {
  INGOT_ASSIGN_OR_RETURN(const std::shared_ptr<const File> file, File::Open(path));
  if (file->size_bytes() > max_bytes) {
    return Corruption("{}: expected at most {} bytes, found {}", file->path(), max_bytes,
                      file->size_bytes());
  }
  std::string text(file->size_bytes(), '\0');
  INGOT_RETURN_IF_ERROR(file->Read(0, std::as_writable_bytes(std::span(text))));
  return text;
}

Result<std::unique_ptr<AtomicFile>> AtomicFile::Create(const std::filesystem::path& path) {
  struct stat info;
  if (::stat(path.c_str(), &info) == 0 && !S_ISREG(info.st_mode)) {
    return InvalidArgument("{}: expected the name of a regular file, found a {}", path.string(),
                           S_ISDIR(info.st_mode) ? "directory" : "special file");
  }
  std::string temporary = path.string() + ".XXXXXX";
  const int descriptor = ::mkostemp(temporary.data(), O_CLOEXEC);
  if (descriptor < 0) {
    return Unavailable("{}: expected a place where a file can be made, found: {}", path.string(),
                       std::strerror(errno));
  }
  // mkostemp makes 0600; a picture should follow the user's umask as open() does.
  const mode_t mask = ::umask(0);
  ::umask(mask);
  ::fchmod(descriptor, 0666 & ~mask);
  return std::unique_ptr<AtomicFile>(
      new AtomicFile(path.string(), std::move(temporary), descriptor));
}

AtomicFile::~AtomicFile() {
  if (descriptor_ < 0) return;
  ::close(descriptor_);
  ::unlink(temporary_.c_str());
}

Status AtomicFile::Write(std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    const ssize_t count = ::write(descriptor_, bytes.data(), bytes.size());
    if (count < 0) {
      if (errno == EINTR) continue;
      return SystemError(path_, "write");
    }
    bytes = bytes.subspan(static_cast<size_t>(count));
  }
  return {};
}

Status AtomicFile::Commit() {
  if (::fsync(descriptor_) != 0) return SystemError(path_, "write");
  if (::rename(temporary_.c_str(), path_.c_str()) != 0) return SystemError(path_, "rename to");
  ::close(descriptor_);
  descriptor_ = -1;
  return {};
}

}  // namespace ingot
