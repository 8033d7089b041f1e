// Products of matrices on the tensor cores: cuBLASLt's, or plain loops in the emulation.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

#include <cuda_runtime.h>

#include "tensor/dtype.h"

namespace ingot {

// Of base/status.h, which kernels do not see: nvcc does not take what it includes.
class Status;
template <typename T>
class Result;

namespace cuda {

// y[m, n] = sum over k of x[m, k] * weight[n, k] (+ bias[n]); all on the device, rows contiguous.
struct MatmulCall {
  // Of x and weight: half_type(); F32 for products that are exact to f32's rounding (no TF32); or
  // F8E4M3 where multiplies_f8() says so, n and k are multiples of 16, every row begins at a
  // multiple of 16 bytes and there is no bias.
  DType dtype = DType::kF32;
  int64_t m = 0, n = 0, k = 0;
  const void* x = nullptr;       // [m, k]
  const void* weight = nullptr;  // [n, k]
  const float* bias = nullptr;   // [n] or null
  float* y = nullptr;            // [m, n], row m at m * y_stride elements
  int64_t y_stride = 0;
};

// Sums are in f32, in an order that is a function of n, k, dtype, whether there is a bias, and the
// alignment of rows (which n and k give where y is contiguous): no row of y depends on m or on
// other rows (promise P5, on one architecture).
class Matmul {
 public:
  // kUnavailable names the library that lacks.
  static Result<std::unique_ptr<Matmul>> Open();
  virtual ~Matmul() = default;

  // The type of 16 bits that this GPU multiplies: BF16 from compute capability 8.0 on, F16 before.
  // Plans do not ask: both take the same bytes.
  virtual DType half_type() const = 0;
  // Whether it multiplies F8E4M3: from compute capability 8.9 on.
  virtual bool multiplies_f8() const = 0;

  // Whether the call is one that this GPU has a product for.
  bool Takes(const MatmulCall& call) const {
    if (call.dtype != DType::kF8E4M3) return call.dtype == half_type() || call.dtype == DType::kF32;
    const auto is_aligned = [](const void* p) { return reinterpret_cast<uintptr_t>(p) % 16 == 0; };
    return multiplies_f8() && call.n % 16 == 0 && call.k % 16 == 0 && call.y_stride % 4 == 0 &&
           is_aligned(call.x) && is_aligned(call.weight) && is_aligned(call.y) &&
           call.bias == nullptr;
  }

  static const int64_t kWorkspaceBytes;  // of every call; a multiple of 256

  // Behind what `stream` has to do.
  virtual void Run(const MatmulCall& call, std::span<std::byte> workspace, cudaStream_t stream) = 0;

  // What went wrong since the last time, the first of it.
  virtual Status TakeError() = 0;
};

}  // namespace cuda
}  // namespace ingot
