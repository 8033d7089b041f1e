// What the executions of a job have done so far, for who looks on from another thread.
#pragma once

#include <atomic>
#include <cstdint>

namespace ingot {

// Of all executions that were given it; every number only rises. They count after each op.
struct RunCounters {
  std::atomic<int64_t> num_ops = 0;         // whoever sees it rise knows that the job lives
  std::atomic<int64_t> streamed_bytes = 0;  // of weights, read from files
  std::atomic<double> stalled_s = 0;        // ops that waited for reads
  // Of other jobs, the most beside a phase of this one: in RAM, and in a device's own memory.
  std::atomic<int64_t> kept_bytes = 0, kept_vram_bytes = 0;
};

}  // namespace ingot
