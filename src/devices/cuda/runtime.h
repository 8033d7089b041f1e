// The CUDA runtime's objects and errors in the terms of this program.
#pragma once

#include <cstdint>
#include <string_view>

#include <cuda_runtime.h>

#include "base/status.h"
#include "tensor/dtype.h"

namespace ingot::cuda {

// kUnavailable: "cuda: expected WHAT, found cudaErrorX (text)".
Status StatusOf(cudaError_t error, std::string_view what);

// Of the chosen GPU: 10 * major + minor.
Result<int> ReadComputeCapability();

// As Matmul says.
constexpr DType HalfTypeOf(int compute_capability) {
  return compute_capability >= 80 ? DType::kBF16 : DType::kF16;
}
constexpr bool MultipliesF8(int compute_capability) { return compute_capability >= 89; }

// A stream that does not wait for the default one.
class Stream {
 public:
  Stream();
  ~Stream();
  Stream(const Stream&) = delete;
  Stream& operator=(const Stream&) = delete;
  cudaStream_t get() const { return stream_; }

 private:
  cudaStream_t stream_ = nullptr;
};

// Numbers of work on a stream, from 1, and waits for them, with a fixed number of CUDA's events: a
// wait for work whose event has been taken again is one for later work of the stream, so it is
// never too short.
class Timeline {
 public:
  Timeline();
  ~Timeline();
  Timeline(const Timeline&) = delete;
  Timeline& operator=(const Timeline&) = delete;

  // Marks what the stream has been given so far.
  Result<int64_t> Mark(cudaStream_t stream);
  int64_t last() const { return last_; }
  cudaEvent_t EventOf(int64_t number) const;

 private:
  static constexpr int kNumEvents = 64;
  cudaEvent_t events_[kNumEvents] = {};
  int64_t last_ = 0;
};

}  // namespace ingot::cuda
