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
  DType dtype = DType::kF32;  // of x and weight: half_type(), or F32 for products that are exact
                              // to f32's rounding (no TF32)
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

  static const int64_t kWorkspaceBytes;  // of every call; a multiple of 256

  // Behind what `stream` has to do.
  virtual void Run(const MatmulCall& call, std::span<std::byte> workspace, cudaStream_t stream) = 0;

  // What went wrong since the last time, the first of it.
  virtual Status TakeError() = 0;
};

}  // namespace cuda
}  // namespace ingot
