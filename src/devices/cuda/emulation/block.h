// One block of a kernel on the host: its threads as fibers, with barriers and warp shuffles.
//
// Threads run one after the other until they wait at a barrier, in an order that tests choose: what
// a kernel computes must not depend on it, else a barrier is missing. A barrier that not all
// threads reach is a bug (CHECK).
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>
#include <span>

namespace ingot::cuda_emulation {

inline constexpr int kWarpSize = 32;

struct dim3 {
  unsigned x = 1, y = 1, z = 1;
  constexpr dim3(unsigned x = 1, unsigned y = 1, unsigned z = 1) : x(x), y(y), z(z) {}
  constexpr int64_t count() const { return int64_t{x} * y * z; }
};

// The order in which the threads of a block get their turns.
enum class ThreadOrder : uint8_t { kForward, kBackward, kShuffled };

// f is what each thread of each block does.
void RunGrid(dim3 grid, dim3 block, size_t num_shared_bytes, ThreadOrder order,
             const std::function<void()>& f);

// --- For a thread that runs --------------------------------------------------------

struct Thread {
  dim3 index, block, block_dim, grid_dim;
};
inline Thread running;
int Lane();  // within the warp
void SyncBlock();
void SyncWarp();
// Poisoned (0xFF) when the block begins.
std::span<std::byte> SharedMemory();

inline constexpr size_t kExchangeBytes = 64;
// What lane `from` gives for `value`; every lane of the warp calls it.
const std::byte* ExchangeBytes(const void* value, size_t num_bytes, int from);

template <class T>
T Exchange(const T& value, int from) {
  static_assert(sizeof(T) <= kExchangeBytes);
  T found;
  std::memcpy(&found, ExchangeBytes(&value, sizeof value, from), sizeof found);
  SyncWarp();  // before the next value takes its place
  return found;
}

}  // namespace ingot::cuda_emulation
