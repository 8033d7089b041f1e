// The emulated GPU as tests see it: its memory, the order of its work, and its failures.
//
// Streams have no threads. In lazy order nothing is done before somebody waits for it, and then no
// more than that takes; in eager order everything is done when it is asked for. A result that
// differs between the two lacks a wait.
#pragma once

#include <cstdint>

#include "devices/cuda/emulation/block.h"

namespace ingot::cuda_emulation {

enum class StreamOrder : uint8_t { kEager, kLazy };

struct GpuOptions {
  StreamOrder streams = StreamOrder::kLazy;
  ThreadOrder threads = ThreadOrder::kForward;
  int compute_capability = 90;  // 10 * major + minor
  int64_t memory_bytes = int64_t{4} << 30;
  int64_t others_bytes = 0;  // that other programs hold
  int64_t refuse_allocation =
      0;                      // the nth of device memory, as if free memory were in pieces; 0: none
  int64_t context_bytes = 0;  // that the driver takes for the program with its first work
  bool has_driver = true;
  bool can_pin = true;  // else cudaHostAlloc fails
  int64_t fail_at_launch =
      0;  // the nth kernel ends in an illegal address, all calls with it; 0: none
};

// A new GPU: everything of the one before has been freed (CHECK).
void ResetGpu(const GpuOptions& options);

struct GpuCounters {
  int64_t num_allocations = 0;  // of device and pinned memory
  int64_t num_launches = 0;
  int64_t used_bytes = 0, peak_bytes = 0;  // of device memory, the context among it
};
GpuCounters Counters();
// Other programs take or give until they hold so much; what is in use here stays.
void SetOthersBytes(int64_t num_bytes);
// Of device memory, as the driver tells it.
int64_t FreeBytes();

}  // namespace ingot::cuda_emulation
