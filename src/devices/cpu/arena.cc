#include "devices/cpu/arena.h"

#include <sys/mman.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

// Linux 5.14; Debian 12's libc headers have it, older ones do not.
#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23
#endif

namespace ingot::cpu {
namespace {

class MappedArena final : public Arena {
 public:
  explicit MappedArena(std::span<std::byte> bytes) : Arena(bytes) {}
  MappedArena(const MappedArena&) = delete;
  MappedArena& operator=(const MappedArena&) = delete;
  ~MappedArena() override { munmap(bytes_.data(), bytes_.size()); }
};

}  // namespace

Result<std::unique_ptr<Arena>> AllocateArena(int64_t num_bytes, std::stop_token stop) {
  INGOT_CHECK(num_bytes >= 0);
  const size_t size = static_cast<size_t>(std::max<int64_t>(num_bytes, 1));
  void* data = mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (data == MAP_FAILED) {
    return Unavailable("cpu: {} bytes of memory refused: {}", num_bytes, std::strerror(errno));
  }
  auto arena = std::make_unique<MappedArena>(std::span(static_cast<std::byte*>(data), size));
  // Fewer page faults and TLB misses where the kernel allows it; only advice.
  madvise(data, size, MADV_HUGEPAGE);
  // A mapping alone is a promise that the kernel may break in the middle of a
  // job. Touch every page now, so that a refusal is an error here.
  constexpr size_t kPieceBytes = 64 << 20;  // about 30 ms
  for (size_t at = 0; at < size; at += kPieceBytes) {
    if (stop.stop_requested()) return Cancelled("cancelled by the caller");
    std::byte* piece = arena->bytes().data() + at;
    if (madvise(piece, std::min(kPieceBytes, size - at), MADV_POPULATE_WRITE) != 0 &&
        errno != EINVAL) {
      return Unavailable("cpu: {} bytes of memory refused: {}", num_bytes, std::strerror(errno));
    }
  }
  return std::unique_ptr<Arena>(std::move(arena));
}

}  // namespace ingot::cpu
