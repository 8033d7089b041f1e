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
// Poisoned (0xFF) when the block begins; aligned to kSharedAlignment.
std::span<std::byte> SharedMemory();
inline constexpr size_t kSharedAlignment = 128;

inline constexpr size_t kExchangeBytes = 64;
// What each lane gives for `value`, lane i at i * kExchangeBytes, until the lane's next call; every
// lane of the warp calls it.
const std::byte* ExchangeBytes(const void* value, size_t num_bytes);

// The values of all lanes, for the time of an expression.
template <class T>
class Exchanged {
 public:
  explicit Exchanged(const T& value) : values_(ExchangeBytes(&value, sizeof value)) {
    static_assert(sizeof(T) <= kExchangeBytes);
  }
  T operator[](int lane) const {
    T found;
    std::memcpy(&found, values_ + static_cast<size_t>(lane) * kExchangeBytes, sizeof found);
    return found;
  }

 private:
  const std::byte* values_;
};

}  // namespace ingot::cuda_emulation
