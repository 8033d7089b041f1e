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

}  // namespace

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
  return std::shared_ptr<const File>(
      new File(path.string(), descriptor, static_cast<uint64_t>(info.st_size)));
}

File::~File() { ::close(descriptor_); }

Status File::Read(uint64_t offset, std::span<std::byte> out) const {
  while (!out.empty()) {
    const ssize_t count = ::pread(descriptor_, out.data(), out.size(), static_cast<off_t>(offset));
    if (count < 0) {
      if (errno == EINTR) continue;
      return SystemError(path_, "read");
    }
    if (count == 0) {
      return Corruption("{}: expected {} more bytes at offset {}, found the end of the file", path_,
                        out.size(), offset);
    }
    offset += static_cast<uint64_t>(count);
    out = out.subspan(static_cast<size_t>(count));
  }
  return {};
}

Status File::ReadAndDrop(uint64_t offset, std::span<std::byte> out) const {
  // 8 MiB pieces: the dropped window stays small beside any budget.
  constexpr size_t kPieceBytes = 8 << 20;
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
