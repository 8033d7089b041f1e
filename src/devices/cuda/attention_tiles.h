// Products of tiles of 16 x 16 by a warp: by tensor cores, and in plain f32.
#pragma once

#include <mma.h>

#include "devices/cuda/kernel.h"

// Registers have no index: loops over them must be gone.
#ifdef __CUDACC__
#define INGOT_UNROLL _Pragma("unroll")
#else
#define INGOT_UNROLL
#endif

namespace ingot::cuda {

namespace wmma = nvcuda::wmma;

inline constexpr int kTile = 16;
inline constexpr int kTileElements = kTile * kTile / kWarp;  // of sums, in each lane

// What memory gives and takes at once.
template <class T>
using Piece = Vector<T, 16 / sizeof(T)>;

struct TensorCores {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ < 800
  using Element = __half;
#else
  using Element = __nv_bfloat16;
#endif
  using Sums = wmma::fragment<wmma::accumulator, kTile, kTile, kTile, float>;
  static_assert(Sums::num_elements == kTileElements);
  using Left = wmma::fragment<wmma::matrix_a, kTile, kTile, kTile, Element, wmma::row_major>;

  static __device__ Left LoadLeft(const Element* a, int stride) {
    Left left;
    wmma::load_matrix_sync(left, a, stride);
    return left;
  }
  // sums += left * b
  template <class Layout>
  static __device__ void MultiplyAdd(Sums& sums, const Left& left, const Element* b, int stride) {
    wmma::fragment<wmma::matrix_b, kTile, kTile, kTile, Element, Layout> right;
    wmma::load_matrix_sync(right, b, stride);
    wmma::mma_sync(sums, left, right, sums);
  }
  static __device__ void Store(const Sums& sums, float* to, int stride) {
    wmma::store_matrix_sync(to, sums, stride, wmma::mem_row_major);
  }
  // In which row of the tile each element of this lane is: what a lane holds is the hardware's to
  // say, so a tile of the rows' numbers is loaded, by way of `scratch`.
  static __device__ void FindRows(float* scratch, int stride, int (&rows)[kTileElements]) {
    for (int i = threadIdx.x % kWarp; i < kTile * kTile; i += kWarp) {
      scratch[i / kTile * stride + i % kTile] = static_cast<float>(i / kTile);
    }
    __syncwarp();
    Sums numbers;
    wmma::load_matrix_sync(numbers, scratch, stride, wmma::mem_row_major);
    INGOT_UNROLL
    for (int e = 0; e < kTileElements; ++e) rows[e] = static_cast<int>(numbers.x[e]);
  }
};

// Each element is one chain of fused multiply-adds. A lane holds two rows of four elements.
struct PlainF32 {
  using Element = float;
  struct Sums {
    float x[kTileElements];
  };
  struct Left {
    const float* rows[2];
  };

  static __device__ int Row() { return static_cast<int>(threadIdx.x) % kWarp / 4 * 2; }
  static __device__ int Column() { return static_cast<int>(threadIdx.x) % 4 * 4; }

  static __device__ Left LoadLeft(const float* a, int stride) {
    return {a + Row() * stride, a + (Row() + 1) * stride};
  }
  template <class Layout>
  static __device__ void MultiplyAdd(Sums& sums, const Left& left, const float* b, int stride) {
    constexpr bool kIsRowMajor = std::is_same_v<Layout, wmma::row_major>;
    INGOT_UNROLL
    for (int k = 0; k < kTile; k += 4) {
      Piece<float> right[4];  // kIsRowMajor: rows of b, from Column() on; else columns of it
      INGOT_UNROLL
      for (int i = 0; i < 4; ++i) {
        right[i] = Piece<float>::At(kIsRowMajor ? b + (k + i) * stride + Column()
                                                : b + (Column() + i) * stride + k);
      }
      INGOT_UNROLL
      for (int row = 0; row < 2; ++row) {
        const Piece<float> factors = Piece<float>::At(left.rows[row] + k);
        INGOT_UNROLL
        for (int column = 0; column < 4; ++column) {
          float& sum = sums.x[row * 4 + column];
          INGOT_UNROLL
          for (int i = 0; i < 4; ++i) {
            const float value = kIsRowMajor ? right[i].values[column] : right[column].values[i];
            sum = __fmaf_rn(factors.values[i], value, sum);
          }
        }
      }
    }
  }
  static __device__ void Store(const Sums& sums, float* to, int stride) {
    INGOT_UNROLL
    for (int e = 0; e < kTileElements; ++e) {
      to[(Row() + e / 4) * stride + Column() + e % 4] = sums.x[e];
    }
  }
  static __device__ void FindRows(float*, int, int (&rows)[kTileElements]) {
    INGOT_UNROLL
    for (int e = 0; e < kTileElements; ++e) rows[e] = Row() + e / 4;
  }
};

}  // namespace ingot::cuda
