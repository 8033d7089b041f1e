// What kernels share: elements of views, sums over warps and blocks, launches.
//
// Kernels are CUDA C++ that also compiles for the host (emulation/): no inline assembly, no shuffle
// in a branch, at most 48 KiB of shared memory. Sums have a fixed order (promise P5): none is
// atomic.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <type_traits>
#include <utility>

#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_fp8.h>
#include <cuda_runtime.h>

#include "base/check.h"
#include "tensor/view.h"

namespace ingot::cuda {

inline constexpr int kWarp = 32;

// The elements of a view by their number in row-major order.
template <class T>
struct Elements {
  T* data = nullptr;
  int64_t run_elements = 0;  // 0: contiguous
  int64_t run_stride = 0;

  __device__ T& operator[](int64_t i) const {
    return run_elements == 0 ? data[i] : data[i / run_elements * run_stride + i % run_elements];
  }
};

template <class T>
Elements<const T> ElementsOf(const ConstTensorView& view) {
  return {reinterpret_cast<const T*>(view.data), view.run_elements, view.run_stride};
}
template <class T>
Elements<T> ElementsOf(const TensorView& view) {
  return {reinterpret_cast<T*>(view.data), view.run_elements, view.run_stride};
}

inline const float* FloatsOf(const ConstTensorView& view) {
  return reinterpret_cast<const float*>(view.data);
}
inline float* FloatsOf(const TensorView& view) { return reinterpret_cast<float*>(view.data); }

__device__ inline float ToFloat(float x) { return x; }
__device__ inline float ToFloat(__half x) { return __half2float(x); }
__device__ inline float ToFloat(__nv_bfloat16 x) { return __bfloat162float(x); }
// To the nearest, ties to even; in e4m3 what is beyond 448 is NaN.
template <class T>
__device__ inline T FromFloat(float x) {
  if constexpr (std::is_same_v<T, __half>) return __float2half_rn(x);
  if constexpr (std::is_same_v<T, __nv_bfloat16>) return __float2bfloat16_rn(x);
  if constexpr (std::is_same_v<T, float>) return x;
  // The conversion takes infinity for 448, a number like others.
  if constexpr (std::is_same_v<T, __nv_fp8_e4m3>) {
    T narrow;
    narrow.__x = __nv_cvt_float_to_fp8(fabsf(x) <= 448.0f ? x : __uint_as_float(0x7FC00000),
                                       __NV_SATFINITE, __NV_E4M3);
    return narrow;
  }
}

// V values that memory gives and takes at once where the address is a multiple of their bytes, or
// of 16 where they have more.
template <class T, int V>
struct alignas(sizeof(T) * V < 16 ? sizeof(T) * V : 16) Vector {
  static constexpr int kSize = V;
  T values[V];

  static __device__ const Vector& At(const T* from) {
    return *reinterpret_cast<const Vector*>(from);
  }
  static __device__ Vector& At(T* to) { return *reinterpret_cast<Vector*>(to); }
};

// Of an address that is no multiple of T's size, as tensors of files have them: a plain load of T
// would end the kernel.
template <class T>
__device__ inline T LoadUnaligned(const unsigned char* from) {
  T value;
  memcpy(&value, from, sizeof value);
  return value;
}

// The number of this thread in a one-dimensional grid.
__device__ inline int64_t ThreadNumber() {
  return static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
}

// Sums of all lanes, in every lane.
__device__ inline float SumOfWarp(float x) {
  for (int mask = kWarp / 2; mask > 0; mask /= 2) x += __shfl_xor_sync(0xffffffffu, x, mask);
  return x;
}
__device__ inline double SumOfWarp(double x) {
  for (int mask = kWarp / 2; mask > 0; mask /= 2) x += __shfl_xor_sync(0xffffffffu, x, mask);
  return x;
}

// Sum of all threads of a block of full warps, in every thread. `scratch`: 32 in shared memory; a
// barrier is passed before it is written, so that one may serve several sums.
template <class T>
__device__ T SumOfBlock(T x, T* scratch) {
  const unsigned lane = threadIdx.x % kWarp, warp = threadIdx.x / kWarp;
  x = SumOfWarp(x);
  __syncthreads();
  if (lane == 0) scratch[warp] = x;
  __syncthreads();
  return SumOfWarp(lane < blockDim.x / kWarp ? scratch[lane] : T{0});
}

// The same for the largest of numbers that are not negative; NaNs are passed over.
__device__ inline float LargestOfWarp(float x) {
  for (int mask = kWarp / 2; mask > 0; mask /= 2) {
    x = fmaxf(x, __shfl_xor_sync(0xffffffffu, x, mask));
  }
  return x;
}
__device__ inline float LargestOfBlock(float x, float* scratch) {
  const unsigned lane = threadIdx.x % kWarp, warp = threadIdx.x / kWarp;
  x = LargestOfWarp(x);
  __syncthreads();
  if (lane == 0) scratch[warp] = x;
  __syncthreads();
  return LargestOfWarp(lane < blockDim.x / kWarp ? scratch[lane] : 0.0f);
}

#ifdef __CUDACC__
extern __shared__ __align__(128) unsigned char dynamic_shared[];
#endif
// The shared memory that a launch asked for.
template <class T>
__device__ inline T* DynamicShared() {
#ifdef __CUDACC__
  return reinterpret_cast<T*>(dynamic_shared);
#else
  return reinterpret_cast<T*>(cuda_emulation::SharedMemory().data());
#endif
}

struct Grid {
  dim3 blocks;
  dim3 threads;
  size_t num_shared_bytes = 0;
};

inline constexpr int kBlockThreads = 256;
// One thread an element, for kernels that return when ThreadNumber() >= num_elements.
inline Grid GridOver(int64_t num_elements) {
  const int64_t blocks = (num_elements + kBlockThreads - 1) / kBlockThreads;
  INGOT_CHECK(blocks <= INT32_MAX);
  return {dim3(static_cast<unsigned>(blocks)), dim3(kBlockThreads)};
}

// An empty grid launches nothing. Errors are the runtime's last (cudaGetLastError).
template <class... Parameters, class... Arguments>
void Launch(const Grid& grid, cudaStream_t stream, void (*kernel)(Parameters...),
            Arguments&&... arguments) {
  if (grid.blocks.x == 0 || grid.blocks.y == 0 || grid.blocks.z == 0) return;
  cudaLaunchConfig_t config = {};
  config.gridDim = grid.blocks;
  config.blockDim = grid.threads;
  config.dynamicSmemBytes = grid.num_shared_bytes;
  config.stream = stream;
  (void)cudaLaunchKernelEx(&config, kernel, std::forward<Arguments>(arguments)...);
}

}  // namespace ingot::cuda
