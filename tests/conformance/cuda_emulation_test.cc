// The emulated GPU: its warps and blocks compute what a GPU's do, and what lacks a wait shows.
#include <gtest/gtest.h>

#include <array>
#include <cstring>
#include <tuple>
#include <utility>
#include <vector>

#include <mma.h>

#include "devices/cuda/emulation/emulation.h"
#include "devices/cuda/kernel.h"
#include "devices/cuda/runtime.h"

namespace ingot::cuda {
namespace {

namespace wmma = nvcuda::wmma;
using cuda_emulation::GpuOptions;
using cuda_emulation::StreamOrder;
using cuda_emulation::ThreadOrder;

constexpr ThreadOrder kOrders[] = {ThreadOrder::kForward, ThreadOrder::kBackward,
                                   ThreadOrder::kShuffled};

// A new GPU with two streams, and buffers of floats on both sides.
class Gpu {
 public:
  explicit Gpu(const GpuOptions& options) {
    cuda_emulation::ResetGpu(options);
    for (cudaStream_t& stream : streams_) (void)cudaStreamCreateWithFlags(&stream, 0);
  }
  ~Gpu() {
    for (cudaStream_t stream : streams_) {
      (void)cudaStreamSynchronize(stream);
      (void)cudaStreamDestroy(stream);
    }
    for (float* buffer : device_) (void)cudaFree(buffer);
    for (float* buffer : pinned_) (void)cudaFreeHost(buffer);
  }
  Gpu(const Gpu&) = delete;
  Gpu& operator=(const Gpu&) = delete;

  cudaStream_t stream(size_t idx = 0) const { return streams_[idx]; }
  float* Device(size_t count) { return Allocate(device_, count, cudaMalloc); }
  float* Pinned(size_t count) {
    return Allocate(pinned_, count,
                    [](void** memory, size_t n) { return cudaHostAlloc(memory, n, 0); });
  }
  std::vector<float> Read(const float* device, size_t count, size_t stream_idx = 0) {
    float* host = Pinned(count);
    EXPECT_EQ(cudaMemcpyAsync(host, device, count * sizeof(float), cudaMemcpyDeviceToHost,
                              stream(stream_idx)),
              cudaSuccess);
    EXPECT_EQ(cudaStreamSynchronize(stream(stream_idx)), cudaSuccess);
    return {host, host + count};
  }

 private:
  template <class F>
  static float* Allocate(std::vector<float*>& buffers, size_t count, F allocate) {
    void* memory = nullptr;
    EXPECT_EQ(allocate(&memory, count * sizeof(float)), cudaSuccess);
    buffers.push_back(static_cast<float*>(memory));
    return buffers.back();
  }

  std::array<cudaStream_t, 2> streams_ = {};
  std::vector<float*> device_, pinned_;
};

// What a kernel of one block writes to an array of `count`.
std::vector<float> Written(ThreadOrder order, unsigned num_threads, size_t count,
                           void (*kernel)(float*)) {
  Gpu gpu({.threads = order});
  float* out = gpu.Device(count);
  Launch({dim3(1), dim3(num_threads)}, gpu.stream(), kernel, out);
  EXPECT_EQ(cudaGetLastError(), cudaSuccess);
  return gpu.Read(out, count);
}

// --- Warps -------------------------------------------------------------------------

__global__ void ShuffleKernel(float* out) {
  const int lane = static_cast<int>(threadIdx.x) % kWarp;
  const auto value = static_cast<float>(threadIdx.x);
  float* of_thread = out + static_cast<size_t>(threadIdx.x) * 4;
  of_thread[0] = __shfl_xor_sync(~0u, value, 5);
  of_thread[1] = __shfl_sync(~0u, value, (lane + 3) % kWarp);
  of_thread[2] = __shfl_down_sync(~0u, value, 4);
  of_thread[3] = SumOfWarp(value);
}

TEST(CudaEmulation, ShufflesReadTheLanesOfTheirWarp) {
  for (ThreadOrder order : kOrders) {
    const std::vector<float> found = Written(order, 64, size_t{64} * 4, ShuffleKernel);
    for (size_t thread = 0; thread < 64; ++thread) {
      const size_t lane = thread % 32, warp = thread - lane;
      EXPECT_EQ(found[thread * 4], static_cast<float>(warp + (lane ^ 5)));
      EXPECT_EQ(found[thread * 4 + 1], static_cast<float>(warp + (lane + 3) % 32));
      EXPECT_EQ(found[thread * 4 + 2], static_cast<float>(lane + 4 < 32 ? thread + 4 : thread));
      EXPECT_EQ(found[thread * 4 + 3], static_cast<float>(warp * 32 + 31 * 16));
    }
  }
}

// Small whole numbers: every product and sum is exact, in any order.
constexpr int kStrideA = 24, kStrideB = 40, kStrideC = 20;
float A(int row, int k) { return static_cast<float>((row * 7 + k * 3) % 11 - 5); }
float B(int k, int column) { return static_cast<float>((k * 5 + column * 2) % 13 - 6); }
float C(int row, int column) { return static_cast<float>(row * 16 + column); }

// a b + 2 (a b + c), written transposed, where b lies in memory in `Layout`.
template <class T, class Layout>
__global__ void ProductKernel(float* out) {
  alignas(32) __shared__ T a[16 * kStrideA];
  alignas(32) __shared__ T b[16 * kStrideB];
  alignas(32) __shared__ float c[16 * kStrideC];
  constexpr bool kIsRowMajor = std::is_same_v<Layout, wmma::row_major>;
  for (int i = static_cast<int>(threadIdx.x); i < 256; i += kWarp) {
    const int row = i / 16, column = i % 16;
    a[row * kStrideA + column] = FromFloat<T>(A(row, column));
    b[row * kStrideB + column] = FromFloat<T>(kIsRowMajor ? B(row, column) : B(column, row));
    c[row * kStrideC + column] = C(row, column);
  }
  __syncwarp();
  wmma::fragment<wmma::matrix_a, 16, 16, 16, T, wmma::row_major> left;
  wmma::fragment<wmma::matrix_b, 16, 16, 16, T, Layout> right;
  wmma::fragment<wmma::accumulator, 16, 16, 16, float> sums, start;
  wmma::load_matrix_sync(left, a, kStrideA);
  wmma::load_matrix_sync(right, b, kStrideB);
  wmma::load_matrix_sync(start, c, kStrideC, wmma::mem_row_major);
  wmma::mma_sync(sums, left, right, start);
  for (int e = 0; e < sums.num_elements; ++e) sums.x[e] *= 2.0f;
  wmma::mma_sync(sums, left, right, sums);
  wmma::store_matrix_sync(out, sums, 16, wmma::mem_col_major);
}

TEST(CudaEmulation, TensorCoresMultiplyAsLoopsDo) {
  std::vector<float> expected(256);
  for (int row = 0; row < 16; ++row) {
    for (int column = 0; column < 16; ++column) {
      float sum = 0.0f;
      for (int k = 0; k < 16; ++k) sum += A(row, k) * B(k, column);
      expected[static_cast<size_t>(column * 16 + row)] = 3.0f * sum + 2.0f * C(row, column);
    }
  }
  for (ThreadOrder order : kOrders) {
    for (auto kernel :
         {ProductKernel<__half, wmma::row_major>, ProductKernel<__half, wmma::col_major>,
          ProductKernel<__nv_bfloat16, wmma::row_major>,
          ProductKernel<__nv_bfloat16, wmma::col_major>}) {
      EXPECT_EQ(Written(order, kWarp, 256, kernel), expected);
    }
  }
}

// --- Barriers ----------------------------------------------------------------------

constexpr int kThreads = 96;

// Each thread hands its number to another of its own or of another warp.
template <bool kHasBarrier, bool kIsInWarp>
__global__ void HandKernel(float* out) {
  __shared__ float values[kThreads];
  const int self = static_cast<int>(threadIdx.x);
  values[self] = -1.0f;
  __syncthreads();
  values[self] = static_cast<float>(self);
  if (kHasBarrier) kIsInWarp ? __syncwarp() : __syncthreads();
  out[self] =
      values[kIsInWarp ? self / kWarp * kWarp + (self + 1) % kWarp : (self + kWarp + 1) % kThreads];
}

bool OrderMatters(void (*kernel)(float*)) {
  const std::vector<float> found = Written(kOrders[0], kThreads, kThreads, kernel);
  bool differs = false;
  for (ThreadOrder order : kOrders) differs |= Written(order, kThreads, kThreads, kernel) != found;
  return differs;
}

TEST(CudaEmulation, AMissingBarrierShowsInAnotherOrderOfThreads) {
  EXPECT_FALSE(OrderMatters(HandKernel<true, false>));
  EXPECT_TRUE(OrderMatters(HandKernel<false, false>));
  EXPECT_FALSE(OrderMatters(HandKernel<true, true>));
  EXPECT_TRUE(OrderMatters(HandKernel<false, true>));
}

__global__ void HalfBarrierKernel(float* out) {
  if (threadIdx.x % 2 == 0) __syncthreads();
  __syncwarp();
  out[threadIdx.x] = 0.0f;
}

TEST(CudaEmulationDeathTest, ABarrierThatSomeThreadsPassByIsABug) {
  EXPECT_DEATH(Written(ThreadOrder::kForward, kThreads, kThreads, HalfBarrierKernel), "");
}

// --- Streams -----------------------------------------------------------------------

__global__ void DoubleKernel(const float* x, float* out) { *out = 2.0f * *x; }

// 2 * 21, from an upload on one stream by a kernel on another.
float DoubledOnAnotherStream(StreamOrder order, bool waits) {
  Gpu gpu({.streams = order});
  float* host = gpu.Pinned(1);
  float *x = gpu.Device(1), *out = gpu.Device(1);
  *host = 21.0f;
  EXPECT_EQ(cudaMemcpyAsync(x, host, sizeof(float), cudaMemcpyHostToDevice, gpu.stream(0)),
            cudaSuccess);
  cudaEvent_t copied = nullptr;
  (void)cudaEventCreateWithFlags(&copied, 0);
  (void)cudaEventRecord(copied, gpu.stream(0));
  if (waits) (void)cudaStreamWaitEvent(gpu.stream(1), copied);
  Launch({dim3(1), dim3(1)}, gpu.stream(1), DoubleKernel, x, out);
  const float found = gpu.Read(out, 1, 1)[0];
  (void)cudaEventDestroy(copied);
  return found;
}

TEST(CudaEmulation, AGpuMultipliesBF16FromComputeCapability80OnAndF8From89On) {
  for (const auto& [capability, half_type, multiplies_f8] :
       {std::tuple(75, DType::kF16, false), std::tuple(80, DType::kBF16, false),
        std::tuple(86, DType::kBF16, false), std::tuple(89, DType::kBF16, true),
        std::tuple(90, DType::kBF16, true), std::tuple(120, DType::kBF16, true)}) {
    cuda_emulation::ResetGpu({.compute_capability = capability});
    EXPECT_EQ(HalfTypeOf(*ReadComputeCapability()), half_type) << capability;
    EXPECT_EQ(MultipliesF8(*ReadComputeCapability()), multiplies_f8) << capability;
  }
}

TEST(CudaEmulation, AMissingWaitBetweenStreamsShowsInLazyOrder) {
  EXPECT_EQ(DoubledOnAnotherStream(StreamOrder::kEager, true), 42.0f);
  EXPECT_EQ(DoubledOnAnotherStream(StreamOrder::kLazy, true), 42.0f);
  EXPECT_EQ(DoubledOnAnotherStream(StreamOrder::kEager, false), 42.0f);
  EXPECT_NE(DoubledOnAnotherStream(StreamOrder::kLazy, false), 42.0f);
}

// A buffer of the host that is written again before its upload was waited for.
TEST(CudaEmulation, APinnedBufferThatIsTakenTooSoonShowsInLazyOrder) {
  for (bool waits : {false, true}) {
    Gpu gpu({.streams = StreamOrder::kLazy});
    float *host = gpu.Pinned(1), *x = gpu.Device(1);
    *host = 1.0f;
    (void)cudaMemcpyAsync(x, host, sizeof(float), cudaMemcpyHostToDevice, gpu.stream());
    if (waits) (void)cudaStreamSynchronize(gpu.stream());
    *host = 2.0f;
    EXPECT_EQ(gpu.Read(x, 1)[0], waits ? 1.0f : 2.0f);
  }
}

}  // namespace
}  // namespace ingot::cuda
