// Stands in for the CUDA toolkit's header of this name: products of 16 x 16 matrices by a warp.
//
// Each lane holds 8 elements and finds those of the product, so that a warp's work is its lanes'.
// Loads and stores wait for no lane: memory that lanes share needs __syncwarp(), as it does on
// GPUs. Sums are f32 in the order of k; tensor cores add in an order of their own.
#pragma once

#include <cstdint>
#include <type_traits>

#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include "base/check.h"
#include "devices/cuda/emulation/block.h"

namespace nvcuda::wmma {

struct matrix_a;
struct matrix_b;
struct accumulator;
struct row_major;
struct col_major;
enum layout_t { mem_row_major, mem_col_major };

// Element e of lane l is element l * 8 + e of the matrix in row-major order.
template <class Use, int m, int n, int k, class T, class Layout = void>
struct fragment {
  static_assert(m == 16 && n == 16 && k == 16);
  static_assert(std::is_same_v<Use, accumulator>
                    ? std::is_same_v<T, float>
                    : std::is_same_v<T, __half> || std::is_same_v<T, __nv_bfloat16>);
  enum { num_elements = 8 };
  T x[num_elements];
};

namespace emulation {

inline constexpr int kSize = 16, kLaneElements = 8;

// Of element e of this lane: where it is in memory.
inline unsigned Offset(int e, unsigned stride, bool is_row_major) {
  const auto i = static_cast<unsigned>(ingot::cuda_emulation::Lane() * kLaneElements + e);
  const unsigned row = i / kSize, column = i % kSize;
  return is_row_major ? row * stride + column : column * stride + row;
}

// As the toolkit asks: 256 bits, and rows of whole 128 bits.
template <class T>
void CheckAligned(const T* memory, unsigned stride) {
  INGOT_CHECK(reinterpret_cast<uintptr_t>(memory) % 32 == 0 && stride * sizeof(T) % 16 == 0);
}

inline float ToFloat(__half x) { return __half2float(x); }
inline float ToFloat(__nv_bfloat16 x) { return __bfloat162float(x); }

}  // namespace emulation

template <class Use, class T, class Layout>
void load_matrix_sync(fragment<Use, 16, 16, 16, T, Layout>& to, const T* from, unsigned stride) {
  static_assert(!std::is_same_v<Use, accumulator>);
  emulation::CheckAligned(from, stride);
  for (int e = 0; e < to.num_elements; ++e) {
    to.x[e] = from[emulation::Offset(e, stride, std::is_same_v<Layout, row_major>)];
  }
}

inline void load_matrix_sync(fragment<accumulator, 16, 16, 16, float>& to, const float* from,
                             unsigned stride, layout_t layout) {
  emulation::CheckAligned(from, stride);
  for (int e = 0; e < to.num_elements; ++e) {
    to.x[e] = from[emulation::Offset(e, stride, layout == mem_row_major)];
  }
}

inline void store_matrix_sync(float* to, const fragment<accumulator, 16, 16, 16, float>& from,
                              unsigned stride, layout_t layout) {
  emulation::CheckAligned(to, stride);
  for (int e = 0; e < from.num_elements; ++e) {
    to[emulation::Offset(e, stride, layout == mem_row_major)] = from.x[e];
  }
}

template <class Use, class T, class Layout>
void fill_fragment(fragment<Use, 16, 16, 16, T, Layout>& fragment, T value) {
  for (T& x : fragment.x) x = value;
}

// d = a * b + c.
template <class T, class LayoutA, class LayoutB>
void mma_sync(fragment<accumulator, 16, 16, 16, float>& d,
              const fragment<matrix_a, 16, 16, 16, T, LayoutA>& a,
              const fragment<matrix_b, 16, 16, 16, T, LayoutB>& b,
              const fragment<accumulator, 16, 16, 16, float>& c) {
  using emulation::kLaneElements;
  struct Elements {
    float a[kLaneElements], b[kLaneElements];
  } own;
  for (int e = 0; e < kLaneElements; ++e) {
    own.a[e] = emulation::ToFloat(a.x[e]);
    own.b[e] = emulation::ToFloat(b.x[e]);
  }
  const ingot::cuda_emulation::Exchanged lanes(own);
  // This lane's elements are half a row; lanes 2i and 2i + 1 hold row i.
  const int lane = ingot::cuda_emulation::Lane(), half = lane % 2;
  if (&d != &c) d = c;
  for (int k = 0; k < emulation::kSize; ++k) {
    const float factor = lanes[lane - half + k / kLaneElements].a[k % kLaneElements];
    const Elements row = lanes[2 * k + half];
    for (int e = 0; e < kLaneElements; ++e) d.x[e] += factor * row.b[e];
  }
}

}  // namespace nvcuda::wmma
