#include "devices/cuda/emulation/block.h"

#include <algorithm>
#include <array>
#include <deque>
#include <memory>
#include <numeric>
#include <random>
#include <vector>

#include <boost/context/fiber.hpp>
#include <boost/context/fixedsize_stack.hpp>

#include "base/check.h"

namespace ingot::cuda_emulation {
namespace {

namespace context = boost::context;

constexpr size_t kStackBytes = size_t{128} << 10;

// A fiber runs threads until one of them waits, and goes on with it when it is woken: a kernel
// without barriers needs one fiber for the whole grid.
class Grid;
struct Fiber {
  context::fiber context;
  context::fiber caller;
  bool is_idle = true;
  int thread = -1;
};

struct Barrier {
  int num_expected = 0;  // of threads that have not ended
  std::vector<Fiber*> waiting;
};

// Values are given in turns of two places: by the time that a lane gives its value at one, all have
// been at the other's barrier, and read nothing here any more.
struct Warp {
  Barrier barrier;
  std::array<std::array<std::array<std::byte, kExchangeBytes>, kWarpSize>, 2> values;
  std::array<uint8_t, kWarpSize> place = {};  // of each lane's next value
};

struct alignas(kSharedAlignment) SharedLine {
  std::byte bytes[kSharedAlignment];
};

class Grid {
 public:
  Grid(dim3 grid, dim3 block, size_t num_shared_bytes, ThreadOrder order,
       const std::function<void()>& f)
      : grid_(grid),
        block_(block),
        num_threads_(static_cast<int>(block.count())),
        f_(f),
        num_shared_bytes_(num_shared_bytes),
        shared_(num_shared_bytes / sizeof(SharedLine) + 1),
        order_(static_cast<size_t>(num_threads_)),
        warps_(static_cast<size_t>((num_threads_ + kWarpSize - 1) / kWarpSize)) {
    std::iota(order_.begin(), order_.end(), 0);
    if (order == ThreadOrder::kBackward) std::ranges::reverse(order_);
    if (order == ThreadOrder::kShuffled) std::ranges::shuffle(order_, std::mt19937(1));
  }

  void Run() {
    for (unsigned z = 0; z < grid_.z; ++z) {
      for (unsigned y = 0; y < grid_.y; ++y) {
        for (unsigned x = 0; x < grid_.x; ++x) RunBlock({x, y, z});
      }
    }
  }

  int thread() const { return running_->thread; }
  std::span<std::byte> shared() { return {shared_.data()->bytes, num_shared_bytes_}; }
  Warp& warp() { return warps_[static_cast<size_t>(thread() / kWarpSize)]; }
  Barrier& block_barrier() { return barrier_; }

  void Wait(Barrier& barrier) {
    Fiber* self = running_;
    if (static_cast<int>(barrier.waiting.size()) + 1 < barrier.num_expected) {
      barrier.waiting.push_back(self);
      self->caller = std::move(self->caller).resume();
      return;
    }
    Open(barrier);
  }

 private:
  void RunBlock(dim3 index) {
    std::ranges::fill(shared(), std::byte{0xFF});
    running = {{}, index, block_, grid_};
    barrier_.num_expected = num_threads_;
    for (size_t i = 0; i < warps_.size(); ++i) {
      warps_[i].barrier.num_expected =
          std::min(kWarpSize, num_threads_ - static_cast<int>(i) * kWarpSize);
    }
    num_begun_ = num_ended_ = 0;
    while (num_ended_ < num_threads_) {
      Fiber* next = nullptr;
      if (num_begun_ < num_threads_) {
        next = IdleFiber();
      } else {
        INGOT_CHECK(!ready_.empty());  // else some threads wait at a barrier that others passed by
        next = ready_.front();
        ready_.pop_front();
      }
      SetRunning(next);
      next->context = std::move(next->context).resume();
    }
  }

  Fiber* IdleFiber() {
    for (const auto& fiber : fibers_) {
      if (fiber->is_idle) return fiber.get();
    }
    fibers_.push_back(std::make_unique<Fiber>());
    Fiber* fiber = fibers_.back().get();
    fiber->context = context::fiber(std::allocator_arg, context::fixedsize_stack(kStackBytes),
                                    [this, fiber](context::fiber&& caller) {
                                      fiber->caller = std::move(caller);
                                      Work(fiber);
                                      return std::move(fiber->caller);
                                    });
    return fiber;
  }

  // Never ends: the last resume of the grid leaves it idle, and its stack is unwound.
  void Work(Fiber* self) {
    for (;;) {
      self->is_idle = false;
      while (num_begun_ < num_threads_) {
        self->thread = order_[static_cast<size_t>(num_begun_++)];
        SetRunning(self);
        f_();
        End();
      }
      self->is_idle = true;
      self->caller = std::move(self->caller).resume();
    }
  }

  void End() {
    ++num_ended_;
    for (Barrier* barrier : {&barrier_, &warp().barrier}) {
      --barrier->num_expected;
      if (!barrier->waiting.empty() &&
          static_cast<int>(barrier->waiting.size()) == barrier->num_expected) {
        Open(*barrier);
      }
    }
  }

  void Open(Barrier& barrier) {
    ready_.insert(ready_.end(), barrier.waiting.begin(), barrier.waiting.end());
    barrier.waiting.clear();
  }

  void SetRunning(Fiber* fiber) {
    running_ = fiber;
    const auto t = static_cast<unsigned>(std::max(fiber->thread, 0));
    running.index = {t % block_.x, t / block_.x % block_.y, t / (block_.x * block_.y)};
  }

  const dim3 grid_, block_;
  const int num_threads_;
  const std::function<void()>& f_;
  const size_t num_shared_bytes_;
  std::vector<SharedLine> shared_;
  std::vector<int> order_;
  std::vector<Warp> warps_;
  Barrier barrier_;
  int num_begun_ = 0, num_ended_ = 0;
  std::vector<std::unique_ptr<Fiber>> fibers_;
  std::deque<Fiber*> ready_;
  Fiber* running_ = nullptr;
};

Grid* grid = nullptr;  // that runs: one at a time (runtime.cc)

}  // namespace

void RunGrid(dim3 dims, dim3 block, size_t num_shared_bytes, ThreadOrder order,
             const std::function<void()>& f) {
  Grid running(dims, block, num_shared_bytes, order, f);
  grid = &running;
  running.Run();
  grid = nullptr;
}

int Lane() { return grid->thread() % kWarpSize; }
void SyncBlock() { grid->Wait(grid->block_barrier()); }
void SyncWarp() { grid->Wait(grid->warp().barrier); }
std::span<std::byte> SharedMemory() { return grid->shared(); }

const std::byte* ExchangeBytes(const void* value, size_t num_bytes) {
  Warp& warp = grid->warp();
  const auto lane = static_cast<size_t>(Lane());
  auto& values = warp.values[warp.place[lane]];
  warp.place[lane] ^= 1;
  std::memcpy(values[lane].data(), value, num_bytes);
  SyncWarp();
  return values.front().data();
}

}  // namespace ingot::cuda_emulation
