// Stands in for the CUDA toolkit's header of this name, so that the sources of devices/cuda compile
// for the host: the words of kernels, and the calls of the runtime that the device makes.
//
// Names, signatures and errors are the toolkit's (CUDA C++ Programming Guide; CUDA Runtime API).
// What tests ask of the emulation itself is in emulation.h.
#pragma once

#include <bit>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>

#include "devices/cuda/emulation/block.h"

// --- Words of kernels -------------------------------------------------------------------------

#define __global__
#define __device__
#define __host__
#define __forceinline__ inline
#define __launch_bounds__(...)
#define __restrict__
#define __shared__ static  // blocks run one after the other

using ingot::cuda_emulation::dim3;
inline const dim3& threadIdx = ingot::cuda_emulation::running.index;
inline const dim3& blockIdx = ingot::cuda_emulation::running.block;
inline const dim3& blockDim = ingot::cuda_emulation::running.block_dim;
inline const dim3& gridDim = ingot::cuda_emulation::running.grid_dim;

inline void __syncthreads() { ingot::cuda_emulation::SyncBlock(); }
inline void __syncwarp(unsigned = 0xffffffffu) { ingot::cuda_emulation::SyncWarp(); }

// Of full warps only: kernels here never shuffle in a branch.
template <class T>
T __shfl_sync(unsigned, T value, int lane, int width = 32) {
  const int self = ingot::cuda_emulation::Lane();
  return ingot::cuda_emulation::Exchanged(value)[self / width * width + lane % width];
}
template <class T>
T __shfl_xor_sync(unsigned, T value, int mask) {
  return ingot::cuda_emulation::Exchanged(value)[ingot::cuda_emulation::Lane() ^ mask];
}
template <class T>
T __shfl_down_sync(unsigned, T value, unsigned delta, int width = 32) {
  const int self = ingot::cuda_emulation::Lane(), from = self + static_cast<int>(delta);
  return ingot::cuda_emulation::Exchanged(value)[from / width == self / width ? from : self];
}

// Rounded once each, whatever the compiler's flags.
inline float __fmaf_rn(float a, float b, float c) { return std::fma(a, b, c); }
inline float __fmul_rn(float a, float b) { return a * b; }
inline float __fadd_rn(float a, float b) { return a + b; }
inline float __fdiv_rn(float a, float b) { return a / b; }
inline float __fsqrt_rn(float a) { return std::sqrt(a); }

inline float __uint_as_float(unsigned bits) { return std::bit_cast<float>(bits); }
inline unsigned __float_as_uint(float x) { return std::bit_cast<unsigned>(x); }

struct alignas(16) double2 {
  double x, y;
};
struct alignas(16) float4 {
  float x, y, z, w;
};

// Stores that are not kept in a processor's own cache.
template <class T>
void __stcg(T* to, T value) {
  *to = value;
}

// --- Calls of the runtime ---------------------------------------------------------------------

enum cudaError_t : int {
  cudaSuccess = 0,
  cudaErrorInvalidValue = 1,
  cudaErrorMemoryAllocation = 2,
  cudaErrorInvalidConfiguration = 9,
  cudaErrorInsufficientDriver = 35,
  cudaErrorIllegalAddress = 700,
};
const char* cudaGetErrorName(cudaError_t error);
const char* cudaGetErrorString(cudaError_t error);
cudaError_t cudaGetLastError();

struct CUstream_st;
struct CUevent_st;
using cudaStream_t = CUstream_st*;
using cudaEvent_t = CUevent_st*;

cudaError_t cudaDriverGetVersion(int* version);
cudaError_t cudaGetDeviceCount(int* count);
cudaError_t cudaSetDevice(int device);
struct cudaDeviceProp {
  char name[256];
};
cudaError_t cudaGetDeviceProperties(cudaDeviceProp* properties, int device);
cudaError_t cudaGetDevice(int* device);
enum cudaDeviceAttr {
  cudaDevAttrComputeCapabilityMajor = 75,
  cudaDevAttrComputeCapabilityMinor = 76
};
cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr attribute, int device);
cudaError_t cudaMemGetInfo(size_t* free_bytes, size_t* total_bytes);
inline constexpr unsigned cudaDeviceScheduleBlockingSync = 4;
cudaError_t cudaSetDeviceFlags(unsigned flags);

cudaError_t cudaMalloc(void** memory, size_t num_bytes);
cudaError_t cudaFree(void* memory);
inline constexpr unsigned cudaHostAllocDefault = 0;
cudaError_t cudaHostAlloc(void** memory, size_t num_bytes, unsigned flags);
cudaError_t cudaFreeHost(void* memory);

inline constexpr unsigned cudaStreamNonBlocking = 1;
cudaError_t cudaStreamCreateWithFlags(cudaStream_t* stream, unsigned flags);
cudaError_t cudaStreamDestroy(cudaStream_t stream);
cudaError_t cudaStreamSynchronize(cudaStream_t stream);
inline constexpr unsigned cudaEventBlockingSync = 1, cudaEventDisableTiming = 2;
cudaError_t cudaEventCreateWithFlags(cudaEvent_t* event, unsigned flags);
cudaError_t cudaEventDestroy(cudaEvent_t event);
cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream);
cudaError_t cudaEventSynchronize(cudaEvent_t event);
cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event, unsigned flags = 0);

enum cudaMemcpyKind { cudaMemcpyHostToDevice = 1, cudaMemcpyDeviceToHost = 2 };
cudaError_t cudaMemcpyAsync(void* to, const void* from, size_t num_bytes, cudaMemcpyKind kind,
                            cudaStream_t stream);

struct cudaLaunchConfig_t {
  dim3 gridDim, blockDim;
  size_t dynamicSmemBytes = 0;
  cudaStream_t stream = nullptr;
};

namespace ingot::cuda_emulation {
// Behind what the stream has to do already.
cudaError_t Enqueue(cudaStream_t stream, std::function<void()> work);
// The same of a kernel: counts, and fails as its configuration does.
cudaError_t EnqueueKernel(const cudaLaunchConfig_t& config, std::function<void()> thread);
}  // namespace ingot::cuda_emulation

template <class... Parameters, class... Arguments>
cudaError_t cudaLaunchKernelEx(const cudaLaunchConfig_t* config, void (*kernel)(Parameters...),
                               Arguments&&... arguments) {
  return ingot::cuda_emulation::EnqueueKernel(
      *config, [kernel, ... values = static_cast<Parameters>(arguments)] { kernel(values...); });
}
