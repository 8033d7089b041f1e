#include <algorithm>
#include <cstdlib>
#include <deque>
#include <map>
#include <mutex>
#include <utility>

#include <cuda_runtime.h>

#include "base/check.h"
#include "devices/cuda/emulation/emulation.h"

struct CUevent_st {
  cudaStream_t stream = nullptr;  // of the last record; null: none, so it is past
  int64_t work = 0;               // number of that record in its stream
};

// Work is numbered from 1.
struct CUstream_st {
  struct Work {
    std::function<void()> run;  // empty: a record or a wait
    cudaStream_t before = nullptr;
    int64_t before_work = 0;
  };
  std::deque<Work> queue;
  int64_t num_done = 0;
  int64_t num_begun() const { return num_done + static_cast<int64_t>(queue.size()); }
};

namespace ingot::cuda_emulation {
namespace {

class Gpu {
 public:
  std::recursive_mutex mutex;
  GpuOptions options;
  GpuCounters counters;
  int64_t num_device_allocations = 0;
  std::map<const std::byte*, size_t> device, pinned;  // live blocks
  cudaError_t error = cudaSuccess;                    // sticky
  bool has_context = false;
  cudaError_t last_error = cudaSuccess;  // of a launch, until somebody asks

  // Carries out the stream's work up to number `work`, and what it waits for.
  void Advance(cudaStream_t stream, int64_t work) {
    while (stream->num_done < work) {
      CUstream_st::Work next = std::move(stream->queue.front());
      stream->queue.pop_front();
      if (next.before != nullptr) Advance(next.before, next.before_work);
      if (next.run && error == cudaSuccess) next.run();
      ++stream->num_done;
    }
  }

  void Push(cudaStream_t stream, CUstream_st::Work work) {
    INGOT_CHECK(stream != nullptr);  // the default stream would wait for all others
    stream->queue.push_back(std::move(work));
    if (options.streams == StreamOrder::kEager) Advance(stream, stream->num_begun());
  }

  cudaError_t Allocate(std::map<const std::byte*, size_t>& blocks, void** memory,
                       size_t num_bytes) {
    ++counters.num_allocations;
    // As the driver aligns; poisoned, as nobody may count on zeros.
    const size_t alignment = &blocks == &pinned ? 4096 : 256;
    const size_t size = (num_bytes + alignment - 1) / alignment * alignment;
    *memory = std::aligned_alloc(alignment, std::max(size, alignment));
    INGOT_CHECK(*memory != nullptr);
    std::memset(*memory, 0xFF, size);
    blocks[static_cast<std::byte*>(*memory)] = size;
    return cudaSuccess;
  }

  // Where work is, a context has been.
  void NeedContext() {
    if (has_context) return;
    has_context = true;
    Take(options.context_bytes);
  }
  void Take(int64_t num_bytes) {
    counters.used_bytes += num_bytes;
    counters.peak_bytes = std::max(counters.peak_bytes, counters.used_bytes);
  }
  int64_t free_bytes() const {
    return std::max<int64_t>(options.memory_bytes - options.others_bytes - counters.used_bytes, 0);
  }

  static void CheckHolds(const std::map<const std::byte*, size_t>& blocks, const void* memory,
                         size_t num_bytes) {
    const auto* begin = static_cast<const std::byte*>(memory);
    auto block = blocks.upper_bound(begin);
    INGOT_CHECK(block != blocks.begin());
    --block;
    INGOT_CHECK(begin + num_bytes <= block->first + block->second);
  }
};

Gpu& gpu() {
  static Gpu* one = new Gpu;  // outlives what statics hold
  return *one;
}

}  // namespace

void ResetGpu(const GpuOptions& options) {
  Gpu& g = gpu();
  const std::scoped_lock lock(g.mutex);
  INGOT_CHECK(g.device.empty() && g.pinned.empty());
  g.options = options;
  g.has_context = false;
  g.counters = {};
  g.num_device_allocations = 0;
  g.error = g.last_error = cudaSuccess;
}

GpuCounters Counters() {
  const std::scoped_lock lock(gpu().mutex);
  return gpu().counters;
}

void SetOthersBytes(int64_t num_bytes) {
  const std::scoped_lock lock(gpu().mutex);
  gpu().options.others_bytes = num_bytes;
}

int64_t FreeBytes() {
  const std::scoped_lock lock(gpu().mutex);
  return gpu().free_bytes();
}

cudaError_t Enqueue(cudaStream_t stream, std::function<void()> work) {
  Gpu& g = gpu();
  const std::scoped_lock lock(g.mutex);
  if (g.error == cudaSuccess) g.Push(stream, {std::move(work)});
  return g.error;
}

cudaError_t EnqueueKernel(const cudaLaunchConfig_t& config, std::function<void()> thread) {
  Gpu& g = gpu();
  const std::scoped_lock lock(g.mutex);
  constexpr size_t kMaxSharedBytes = 48 << 10;  // without an opt-in
  const dim3 grid = config.gridDim, block = config.blockDim;
  if (grid.count() < 1 || grid.y > 65535 || grid.z > 65535 || block.count() < 1 ||
      block.count() > 1024 || config.dynamicSmemBytes > kMaxSharedBytes) {
    return g.last_error = cudaErrorInvalidConfiguration;
  }
  const bool fails = ++g.counters.num_launches == g.options.fail_at_launch;
  return Enqueue(config.stream, [=, &g, thread = std::move(thread)] {
    if (fails) {
      g.error = cudaErrorIllegalAddress;
      return;
    }
    RunGrid(grid, block, config.dynamicSmemBytes, g.options.threads, thread);
  });
}

}  // namespace ingot::cuda_emulation

using ingot::cuda_emulation::gpu;
using Lock = std::scoped_lock<std::recursive_mutex>;

const char* cudaGetErrorName(cudaError_t error) {
  switch (error) {
    case cudaSuccess:
      return "cudaSuccess";
    case cudaErrorInvalidValue:
      return "cudaErrorInvalidValue";
    case cudaErrorMemoryAllocation:
      return "cudaErrorMemoryAllocation";
    case cudaErrorInvalidConfiguration:
      return "cudaErrorInvalidConfiguration";
    case cudaErrorInsufficientDriver:
      return "cudaErrorInsufficientDriver";
    case cudaErrorIllegalAddress:
      return "cudaErrorIllegalAddress";
  }
  return "?";
}
const char* cudaGetErrorString(cudaError_t error) { return cudaGetErrorName(error); }

cudaError_t cudaGetLastError() {
  const Lock lock(gpu().mutex);
  const cudaError_t last = std::exchange(gpu().last_error, cudaSuccess);
  return gpu().error != cudaSuccess ? gpu().error : last;
}

cudaError_t cudaDriverGetVersion(int* version) {
  *version = gpu().options.has_driver ? 13000 : 0;
  return cudaSuccess;
}
cudaError_t cudaGetDeviceCount(int* count) {
  *count = gpu().options.has_driver ? 1 : 0;
  return gpu().options.has_driver ? cudaSuccess : cudaErrorInsufficientDriver;
}
cudaError_t cudaGetDeviceProperties(cudaDeviceProp* properties, int) {
  *properties = {"emulated"};
  return cudaSuccess;
}
// As of CUDA 12 it makes the context.
cudaError_t cudaSetDevice(int) {
  const Lock lock(gpu().mutex);
  gpu().NeedContext();
  return cudaSuccess;
}
cudaError_t cudaGetDevice(int* device) {
  *device = 0;
  return cudaSuccess;
}
cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr attribute, int) {
  const int capability = gpu().options.compute_capability;
  *value = attribute == cudaDevAttrComputeCapabilityMajor ? capability / 10 : capability % 10;
  return cudaSuccess;
}
cudaError_t cudaSetDeviceFlags(unsigned) { return cudaSuccess; }
cudaError_t cudaMemGetInfo(size_t* free_bytes, size_t* total_bytes) {
  const Lock lock(gpu().mutex);
  gpu().NeedContext();
  *total_bytes = static_cast<size_t>(gpu().options.memory_bytes);
  *free_bytes = static_cast<size_t>(gpu().free_bytes());
  return gpu().error;
}

cudaError_t cudaMalloc(void** memory, size_t num_bytes) {
  const Lock lock(gpu().mutex);
  auto& g = gpu();
  g.NeedContext();
  if (g.error != cudaSuccess) return g.error;
  const bool is_refused = ++g.num_device_allocations == g.options.refuse_allocation;
  if (is_refused || static_cast<int64_t>(num_bytes) > g.free_bytes()) {
    return cudaErrorMemoryAllocation;
  }
  const cudaError_t error = g.Allocate(g.device, memory, num_bytes);
  g.Take(static_cast<int64_t>(g.device[static_cast<std::byte*>(*memory)]));
  return error;
}
cudaError_t cudaFree(void* memory) {
  const Lock lock(gpu().mutex);
  auto& g = gpu();
  const auto block = g.device.find(static_cast<std::byte*>(memory));
  if (block == g.device.end()) return cudaErrorInvalidValue;
  g.counters.used_bytes -= static_cast<int64_t>(block->second);
  std::memset(memory, 0xFF, block->second);  // who still reads it sees NaNs
  g.device.erase(block);
  std::free(memory);
  return g.error;
}
cudaError_t cudaHostAlloc(void** memory, size_t num_bytes, unsigned) {
  const Lock lock(gpu().mutex);
  auto& g = gpu();
  if (g.error != cudaSuccess) return g.error;
  g.NeedContext();
  if (!g.options.can_pin) return cudaErrorMemoryAllocation;
  return g.Allocate(g.pinned, memory, num_bytes);
}
cudaError_t cudaFreeHost(void* memory) {
  const Lock lock(gpu().mutex);
  if (gpu().pinned.erase(static_cast<std::byte*>(memory)) == 0) return cudaErrorInvalidValue;
  std::free(memory);
  return gpu().error;
}

cudaError_t cudaStreamCreateWithFlags(cudaStream_t* stream, unsigned) {
  const Lock lock(gpu().mutex);
  gpu().NeedContext();
  *stream = new CUstream_st;
  return cudaSuccess;
}
cudaError_t cudaStreamDestroy(cudaStream_t stream) {
  delete stream;
  return cudaSuccess;
}
cudaError_t cudaStreamSynchronize(cudaStream_t stream) {
  const Lock lock(gpu().mutex);
  gpu().Advance(stream, stream->num_begun());
  return gpu().error;
}
cudaError_t cudaEventCreateWithFlags(cudaEvent_t* event, unsigned) {
  *event = new CUevent_st;
  return cudaSuccess;
}
cudaError_t cudaEventDestroy(cudaEvent_t event) {
  delete event;
  return cudaSuccess;
}
cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream) {
  const Lock lock(gpu().mutex);
  gpu().Push(stream, {});
  *event = {stream, stream->num_begun()};
  return gpu().error;
}
cudaError_t cudaEventSynchronize(cudaEvent_t event) {
  const Lock lock(gpu().mutex);
  if (event->stream != nullptr) gpu().Advance(event->stream, event->work);
  return gpu().error;
}
cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event, unsigned) {
  const Lock lock(gpu().mutex);
  gpu().Push(stream, {{}, event->stream, event->work});
  return gpu().error;
}

cudaError_t cudaMemcpyAsync(void* to, const void* from, size_t num_bytes, cudaMemcpyKind kind,
                            cudaStream_t stream) {
  const Lock lock(gpu().mutex);
  auto& g = gpu();
  if (num_bytes > 0) {
    // Where no memory can be pinned, any of the host will do.
    const auto check = [&](bool is_host, const void* memory) {
      if (is_host && !g.options.can_pin) return;
      g.CheckHolds(is_host ? g.pinned : g.device, memory, num_bytes);
    };
    check(kind == cudaMemcpyHostToDevice, from);
    check(kind == cudaMemcpyDeviceToHost, to);
  }
  return ingot::cuda_emulation::Enqueue(stream, [=] { std::memcpy(to, from, num_bytes); });
}
