// Rows of f32 that a team of threads shares: a warp, or a whole block where rows are wide.
//
// The width alone decides the team, which of its threads has which elements, and the order of sums:
// neither other rows nor the alignment of this one change a bit (promise P5).
#pragma once

#include "devices/cuda/kernel.h"
#include "devices/op_call.h"

namespace ingot::cuda {

// The rows of a view by their number; a run of the view has a whole number of them.
template <class T>
struct Rows {
  T* data;
  int64_t width;
  int64_t run_stride;
  unsigned rows_per_run;

  __device__ T* operator[](unsigned row) const {
    return data + row / rows_per_run * run_stride + row % rows_per_run * width;
  }
};

template <class T, class View>
Rows<T> RowsOf(const View& view, int64_t width) {
  const int64_t run = view.is_contiguous() ? width : view.run_elements;
  INGOT_CHECK(run % width == 0 && view.shape.num_elements() / width <= UINT32_MAX);
  return {reinterpret_cast<T*>(view.data), width, view.is_contiguous() ? width : view.run_stride,
          static_cast<unsigned>(run / width)};
}

// Four elements of a row: what a thread loads and stores at once where the row is aligned.
using Quad = Vector<float, 4>;

__device__ inline bool IsWholeQuad(const float* row, int64_t begin, int64_t width) {
  return begin + 4 <= width && reinterpret_cast<uintptr_t>(row + begin) % sizeof(Quad) == 0;
}

// Zeros from `width` on.
__device__ inline Quad LoadQuad(const float* row, int64_t begin, int64_t width) {
  if (IsWholeQuad(row, begin, width)) return *reinterpret_cast<const Quad*>(row + begin);
  Quad quad;
  for (int i = 0; i < 4; ++i) quad.values[i] = begin + i < width ? row[begin + i] : 0.0f;
  return quad;
}

__device__ inline void StoreQuad(const Quad& quad, float* row, int64_t begin, int64_t width) {
  if (IsWholeQuad(row, begin, width)) {
    // A plain store is split into four by nvcc, as it shares its address with those below.
    const auto& [x, y, z, w] = quad.values;
    __stcg(reinterpret_cast<float4*>(row + begin), float4{x, y, z, w});
    return;
  }
  for (int i = 0; i < 4; ++i) {
    if (begin + i < width) row[begin + i] = quad.values[i];
  }
}

// The widest row of one warp: eight quads a lane.
inline constexpr int64_t kMaxWarpRow = 1024;

// f(the threads of a team, as a constant).
template <class F>
void WithTeam(int64_t width, const F& f) {
  width <= kMaxWarpRow ? f(std::integral_constant<int, kWarp>{})
                       : f(std::integral_constant<int, kBlockThreads>{});
}

// A team a row, for kernels that return when RowOfTeam() >= num_rows.
inline Grid GridOfTeams(int team, int64_t num_rows) { return GridOver(num_rows * team); }
template <int kTeam>
__device__ unsigned RowOfTeam() {
  return static_cast<unsigned>(ThreadNumber() / kTeam);
}

// f(begin) for each quad of this thread.
template <int kTeam, class F>
__device__ void ForQuads(int64_t width, const F& f) {
  for (int64_t begin = 4 * (threadIdx.x % kTeam); begin < width; begin += 4 * kTeam) f(begin);
}

// Sum of all threads of a team, in every thread.
template <int kTeam>
__device__ float SumOfTeam(float x) {
  if constexpr (kTeam == kWarp) {
    return SumOfWarp(x);
  } else {
    __shared__ float scratch[kWarp];
    return SumOfBlock(x, scratch);
  }
}

// 1 / sqrt(mean(x^2) + eps).
template <int kTeam>
__device__ float InverseRms(const float* row, int64_t width, float eps) {
  float sum = 0.0f;
  ForQuads<kTeam>(width, [&](int64_t begin) {
    const Quad x = LoadQuad(row, begin, width);
    for (float value : x.values) sum = __fmaf_rn(value, value, sum);
  });
  const float mean = __fdiv_rn(SumOfTeam<kTeam>(sum), static_cast<float>(width));
  return __fdiv_rn(1.0f, __fsqrt_rn(mean + eps));
}

// x * inverse_rms * weight.
__device__ inline Quad RmsNormalized(Quad x, float inverse_rms, const Quad& weight) {
  for (int i = 0; i < 4; ++i) {
    x.values[i] = __fmul_rn(__fmul_rn(x.values[i], inverse_rms), weight.values[i]);
  }
  return x;
}

// A row of the output of each row of the first input, of one width: all threads of its team call
// op.Make<kTeam>(x, width, out, number of the row).
template <int kTeam, class Op>
__global__ void RowKernel(Op op, Rows<const float> xs, Rows<float> outs, unsigned num_rows) {
  const unsigned row = RowOfTeam<kTeam>();
  if (row < num_rows) op.template Make<kTeam>(xs[row], xs.width, outs[row], row);
}

template <class Op>
void MakeRows(const Op& op, const OpCall& call, cudaStream_t stream) {
  const int64_t width = call.output.shape.back();
  const auto num_rows = static_cast<unsigned>(call.output.shape.num_elements() / width);
  WithTeam(width, [&]<int kTeam>(std::integral_constant<int, kTeam>) {
    Launch(GridOfTeams(kTeam, num_rows), stream, RowKernel<kTeam, Op>, op,
           RowsOf<const float>(call.inputs[0], width), RowsOf<float>(call.output, width), num_rows);
  });
}

}  // namespace ingot::cuda
