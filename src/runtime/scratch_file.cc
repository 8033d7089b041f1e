#include "runtime/scratch_file.h"

#include <fcntl.h>
#include <linux/magic.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>

#include "base/check.h"
#include "base/stopwatch.h"

namespace ingot {
namespace {

bool IsAligned(int64_t value) { return value % kScratchAlignment == 0; }

// A file that vanishes with its descriptor.
int OpenUnnamed(const std::string& folder, int flags) {
  const int descriptor = ::open(folder.c_str(), O_TMPFILE | O_RDWR | O_CLOEXEC | flags, 0600);
  if (descriptor >= 0 || (errno != EOPNOTSUPP && errno != EISDIR)) return descriptor;
  std::string name = folder + "/ingot-scratch.XXXXXX";  // the file system has no O_TMPFILE
  const int named = ::mkostemp(name.data(), O_CLOEXEC | flags);
  if (named >= 0) ::unlink(name.c_str());
  return named;
}

}  // namespace

Result<std::unique_ptr<ScratchFile>> ScratchFile::Create(const std::filesystem::path& folder,
                                                         int64_t num_bytes, Trace* trace) {
  struct statfs info;
  if (::statfs(folder.c_str(), &info) != 0) {
    return InvalidArgument("scratch: expected a folder, found '{}': {}", folder.string(),
                           std::strerror(errno));
  }
  if (info.f_type == TMPFS_MAGIC || info.f_type == RAMFS_MAGIC) {
    return InvalidArgument("scratch: expected a folder on a disk, found '{}' in memory",
                           folder.string());
  }
  int descriptor = OpenUnnamed(folder.string(), O_DIRECT);
  if (descriptor < 0 && errno == EINVAL) descriptor = OpenUnnamed(folder.string(), 0);
  if (descriptor < 0) {
    return Unavailable("scratch: expected a folder to write to, found '{}': {}", folder.string(),
                       std::strerror(errno));
  }
  if (const int error = ::posix_fallocate(descriptor, 0, num_bytes); error != 0) {
    ::close(descriptor);
    return Unavailable("scratch: expected {} free bytes in '{}', found: {}", num_bytes,
                       folder.string(), std::strerror(error));
  }
  return std::unique_ptr<ScratchFile>(new ScratchFile(folder.string(), descriptor, trace));
}

ScratchFile::ScratchFile(std::string folder, int descriptor, Trace* trace)
    : folder_(std::move(folder)), descriptor_(descriptor), trace_(trace) {
  if (trace_ != nullptr) {
    trace_row_ = trace_->AddRow("scratch file");
    read_label_ = trace_->AddLabel({.category = "read", .name = "read"});
    write_label_ = trace_->AddLabel({.category = "write", .name = "write"});
    wait_label_ = trace_->AddLabel({.category = "wait", .name = "scratch file"});
  }
  thread_ = std::jthread([this](std::stop_token stop) { Run(stop); });
}

ScratchFile::~ScratchFile() {
  thread_.request_stop();
  thread_.join();
  ::close(descriptor_);
}

ScratchFile::Ticket ScratchFile::Write(int64_t offset, std::span<const std::byte> bytes) {
  return Queue({offset, const_cast<std::byte*>(bytes.data()), bytes.size(), true});
}

ScratchFile::Ticket ScratchFile::Read(int64_t offset, std::span<std::byte> bytes) {
  return Queue({offset, bytes.data(), bytes.size(), false});
}

ScratchFile::Ticket ScratchFile::Queue(const Transfer& transfer) {
  INGOT_CHECK(IsAligned(transfer.offset) && IsAligned(static_cast<int64_t>(transfer.num_bytes)));
  INGOT_CHECK(IsAligned(static_cast<int64_t>(reinterpret_cast<uintptr_t>(transfer.bytes))));
  std::unique_lock lock(mutex_);
  WaitUntil(lock, [&] { return num_queued_ - num_done_ < kMaxQueued; });
  queue_[num_queued_ % kMaxQueued] = transfer;
  changed_.notify_all();
  return num_queued_++;
}

Status ScratchFile::Wait(Ticket ticket) {
  std::unique_lock lock(mutex_);
  WaitUntil(lock, [&] { return num_done_ > ticket; });
  return error_;
}

template <typename Condition>
void ScratchFile::WaitUntil(std::unique_lock<std::mutex>& lock, const Condition& is_true) {
  if (is_true()) return;
  const TraceSpan span(trace_, wait_label_);
  const Stopwatch watch;
  changed_.wait(lock, is_true);
  stalled_s_ += watch.seconds();
}

int64_t ScratchFile::transferred_bytes() const {
  const std::lock_guard lock(mutex_);
  return transferred_bytes_;
}

void ScratchFile::Run(std::stop_token stop) {
  std::unique_lock lock(mutex_);
  while (changed_.wait(lock, stop, [&] { return num_done_ < num_queued_; })) {
    const Transfer transfer = queue_[num_done_ % kMaxQueued];
    const bool failed = !error_.ok();
    lock.unlock();
    Status status;
    if (!failed) {
      const TraceSpan span(trace_, transfer.is_write ? write_label_ : read_label_, trace_row_);
      status = Move(transfer);
    }
    lock.lock();
    if (error_.ok()) error_ = std::move(status);
    transferred_bytes_ += static_cast<int64_t>(transfer.num_bytes);
    ++num_done_;
    changed_.notify_all();
  }
}

Status ScratchFile::Move(const Transfer& transfer) const {
  size_t done = 0;
  while (done < transfer.num_bytes) {
    std::byte* at = transfer.bytes + done;
    const size_t rest = transfer.num_bytes - done;
    const auto offset = transfer.offset + static_cast<off_t>(done);
    const ssize_t count = transfer.is_write ? ::pwrite(descriptor_, at, rest, offset)
                                            : ::pread(descriptor_, at, rest, offset);
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) {
      return Unavailable("scratch in '{}': cannot {} {} bytes at offset {}: {}", folder_,
                         transfer.is_write ? "write" : "read", rest, offset,
                         count < 0 ? std::strerror(errno) : "end of file");
    }
    done += static_cast<size_t>(count);
  }
  return {};
}

}  // namespace ingot
