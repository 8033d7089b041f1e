#include "devices/cuda/movement.h"

#include <algorithm>
#include <bit>
#include <cmath>

#include "devices/cuda/dequantize.h"
#include "devices/cuda/kernel.h"

namespace ingot::cuda {
namespace {

// A dimension that a copy goes along: its size, and elements from one step to the next.
struct Axis {
  int64_t size, in_stride, out_stride;
};

// A number of some nested axes, outermost first, as offsets.
struct Axes {
  static constexpr int kMaxCount = Shape::kMaxRank;
  Axis axes[kMaxCount];
  int count = 0;

  // Drops an axis of one step, and joins an axis to the one around it where both sides allow.
  void Add(const Axis& inner) {
    if (inner.size == 1) return;
    if (count > 0) {
      Axis& outer = axes[count - 1];
      if (outer.in_stride == inner.size * inner.in_stride &&
          outer.out_stride == inner.size * inner.out_stride) {
        outer = {outer.size * inner.size, inner.in_stride, inner.out_stride};
        return;
      }
    }
    INGOT_CHECK(count < kMaxCount);
    axes[count++] = inner;
  }
  Axis Take(int idx) {
    const Axis taken = axes[idx];
    for (--count; idx < count; ++idx) axes[idx] = axes[idx + 1];
    return taken;
  }
  unsigned num_steps() const {
    int64_t steps = 1;
    for (int i = 0; i < count; ++i) steps *= axes[i].size;
    INGOT_CHECK(steps <= UINT32_MAX);
    return static_cast<unsigned>(steps);
  }

  __device__ void Offsets(unsigned step, int64_t* in, int64_t* out) const {
    *in = *out = 0;
    for (int i = count - 1; i >= 0; --i) {
      const auto size = static_cast<unsigned>(axes[i].size);
      *in += step % size * axes[i].in_stride;
      *out += step % size * axes[i].out_stride;
      step /= size;
    }
  }
};

// Rows of `width` elements, contiguous on both sides: threads (columns, rows of a block); one block
// has at most a block's threads of a row's columns, blocks of a row one after the other.
template <class T>
__global__ void CopyRowsKernel(const T* in, Axes rows, unsigned num_rows, int64_t width,
                               unsigned blocks_a_row, T* out) {
  const unsigned row = blockIdx.x / blocks_a_row * blockDim.y + threadIdx.y;
  const int64_t column = static_cast<int64_t>(blockIdx.x % blocks_a_row) * blockDim.x + threadIdx.x;
  if (row >= num_rows || column >= width) return;
  int64_t from, to;
  rows.Offsets(row, &from, &to);
  out[to + column] = in[from + column];
}

template <class T>
void CopyRowsOf(const float* in, const Axes& rows, int64_t width, float* out, cudaStream_t stream) {
  const int64_t columns = std::min<int64_t>(
      static_cast<int64_t>(std::bit_ceil(static_cast<uint64_t>(width))), kBlockThreads);
  const int64_t rows_a_block = kBlockThreads / columns;
  const int64_t blocks_a_row = (width + columns - 1) / columns;
  const unsigned num_rows = rows.num_steps();
  const int64_t blocks = (num_rows + rows_a_block - 1) / rows_a_block * blocks_a_row;
  INGOT_CHECK(blocks <= INT32_MAX);
  Launch({dim3(static_cast<unsigned>(blocks)),
          dim3(static_cast<unsigned>(columns), static_cast<unsigned>(rows_a_block))},
         stream, CopyRowsKernel<T>, reinterpret_cast<const T*>(in), rows, num_rows, width,
         static_cast<unsigned>(blocks_a_row), reinterpret_cast<T*>(out));
}

// In 16 bytes at a time where all rows begin and end at multiples of them.
void CopyRows(const float* in, const Axes& rows, int64_t width, float* out, cudaStream_t stream) {
  constexpr int64_t kElements = sizeof(float4) / sizeof(float);
  if (width == 0 || rows.num_steps() == 0) return;
  bool is_aligned = width % kElements == 0 && reinterpret_cast<uintptr_t>(in) % 16 == 0 &&
                    reinterpret_cast<uintptr_t>(out) % 16 == 0;
  Axes in_quads = rows;
  for (int i = 0; i < rows.count; ++i) {
    Axis& axis = in_quads.axes[i];
    is_aligned &= axis.in_stride % kElements == 0 && axis.out_stride % kElements == 0;
    axis.in_stride /= kElements;
    axis.out_stride /= kElements;
  }
  is_aligned ? CopyRowsOf<float4>(in, in_quads, width / kElements, out, stream)
             : CopyRowsOf<float>(in, rows, width, out, stream);
}

// Threads (kTile, kTileRows) move a tile of kTile x kTile elements by way of shared memory, so that
// both sides are read and written along their contiguous axis.
constexpr int kTile = 32, kTileRows = 8;

// in_axis is contiguous in the input, out_axis in the output; matrices: the axes around them.
// Blocks: tiles along in_axis, along out_axis, matrices, the first the innermost.
__global__ void TransposeKernel(const float* in, Axis in_axis, Axis out_axis, Axes matrices,
                                unsigned in_tiles, unsigned out_tiles, float* out) {
  __shared__ float tile[kTile][kTile + 1];  // a column lies in all banks
  int64_t from, to;
  matrices.Offsets(blockIdx.x / in_tiles / out_tiles, &from, &to);
  const int64_t in_begin = static_cast<int64_t>(blockIdx.x % in_tiles) * kTile;
  const int64_t out_begin = static_cast<int64_t>(blockIdx.x / in_tiles % out_tiles) * kTile;
  for (unsigned i = threadIdx.y; i < kTile; i += kTileRows) {
    const int64_t column = in_begin + threadIdx.x, row = out_begin + i;
    if (column < in_axis.size && row < out_axis.size) {
      tile[i][threadIdx.x] = in[from + row * out_axis.in_stride + column];
    }
  }
  __syncthreads();
  for (unsigned i = threadIdx.y; i < kTile; i += kTileRows) {
    const int64_t column = in_begin + i, row = out_begin + threadIdx.x;
    if (column < in_axis.size && row < out_axis.size) {
      out[to + column * in_axis.out_stride + row] = tile[threadIdx.x][i];
    }
  }
}

void Transpose(const float* in, const Axis& in_axis, const Axis& out_axis, const Axes& matrices,
               float* out, cudaStream_t stream) {
  const auto tiles = [](const Axis& axis) { return (axis.size + kTile - 1) / kTile; };
  const int64_t blocks = tiles(in_axis) * tiles(out_axis) * matrices.num_steps();
  INGOT_CHECK(blocks <= INT32_MAX);
  Launch({dim3(static_cast<unsigned>(blocks)), dim3(kTile, kTileRows)}, stream, TransposeKernel, in,
         in_axis, out_axis, matrices, static_cast<unsigned>(tiles(in_axis)),
         static_cast<unsigned>(tiles(out_axis)), out);
}

// A thread an element of the output.
__global__ void TakeRowKernel(const float* x, const int32_t* idx, int64_t length, int64_t width,
                              float* out, int64_t num_elements) {
  const int64_t i = ThreadNumber();
  if (i >= num_elements) return;
  const int64_t picture = i / width, row = idx[picture];
  const bool is_row = row >= 0 && row < length;
  out[i] = is_row ? x[(picture * length + row) * width + i % width] : NAN;
}

// A tensor seen from one axis: [outer, dim, inner].
struct AxisSplit {
  AxisSplit(const Shape& shape, int axis) {
    for (int i = 0; i < axis; ++i) outer *= shape[i];
    for (int i = axis + 1; i < shape.rank(); ++i) inner *= shape[i];
    row = shape[axis] * inner;
  }
  int64_t outer = 1;
  int64_t inner = 1;  // elements of one step along the axis
  int64_t row;        // elements of one outer index
};

}  // namespace

void Run(const op::Permute& op, const OpCall& call, const Context& context) {
  const Shape &in = call.inputs[0].shape, &out = call.output.shape;
  Axes axes;
  int64_t out_stride = out.num_elements();
  if (out_stride == 0) return;
  for (int i = 0; i < out.rank(); ++i) {
    out_stride /= out[i];
    axes.Add({out[i], AxisSplit(in, op.axes[static_cast<size_t>(i)]).inner, out_stride});
  }
  const float* from = FloatsOf(call.inputs[0]);
  float* to = FloatsOf(call.output);
  if (axes.count == 0) return CopyRows(from, axes, 1, to, context.stream);
  const Axis out_axis = axes.Take(axes.count - 1);
  if (out_axis.in_stride == 1) return CopyRows(from, axes, out_axis.size, to, context.stream);
  int last = 0;  // of the input
  while (axes.axes[last].in_stride != 1) ++last;
  const Axis in_axis = axes.Take(last);
  Transpose(from, in_axis, out_axis, axes, to, context.stream);
}

void Run(const op::Slice& op, const OpCall& call, const Context& context) {
  const AxisSplit from(call.inputs[0].shape, op.axis), to(call.output.shape, op.axis);
  Axes rows;
  rows.Add({to.outer, from.row, to.row});
  CopyRows(FloatsOf(call.inputs[0]) + op.begin * from.inner, rows, to.row, FloatsOf(call.output),
           context.stream);
}

void Run(const op::Concat& op, const OpCall& call, const Context& context) {
  const AxisSplit to(call.output.shape, op.axis);
  float* out = FloatsOf(call.output);
  for (const ConstTensorView& input : call.inputs) {
    const AxisSplit from(input.shape, op.axis);
    Axes rows;
    rows.Add({to.outer, from.row, to.row});
    CopyRows(FloatsOf(input), rows, from.row, out, context.stream);
    out += from.row;
  }
}

void Run(const op::UpsampleNearest2x&, const OpCall& call, const Context& context) {
  const Shape& x = call.inputs[0].shape;
  const int64_t channels = x[3], row = x[2] * channels;
  Axes pixels;
  pixels.Add({x[0] * x[1], row, 4 * row});
  pixels.Add({2, 0, 2 * row});
  pixels.Add({x[2], channels, 2 * channels});
  pixels.Add({2, 0, channels});
  CopyRows(FloatsOf(call.inputs[0]), pixels, channels, FloatsOf(call.output), context.stream);
}

void Run(const op::Embedding&, const OpCall& call, const Context& context) {
  const ConstTensorView& ids = call.inputs[0];
  DequantizeRowsOf(call.inputs[1], reinterpret_cast<const int32_t*>(ids.data),
                   ids.shape.num_elements(), FloatsOf(call.output), context.stream);
}

void Run(const op::TakeRow&, const OpCall& call, const Context& context) {
  const Shape& x = call.inputs[0].shape;
  const int64_t count = call.output.shape.num_elements();
  Launch(GridOver(count), context.stream, TakeRowKernel, FloatsOf(call.inputs[0]),
         reinterpret_cast<const int32_t*>(call.inputs[1].data), x[1], x[2], FloatsOf(call.output),
         count);
}

bool AcceptsDType(const op::Embedding&, int input_idx, DType dtype) {
  if (input_idx == 1) return IsWeightType(dtype);
  return dtype == (input_idx == 0 ? DType::kI32 : DType::kF32);
}

bool AcceptsDType(const op::TakeRow&, int input_idx, DType dtype) {
  return dtype == (input_idx == 1 ? DType::kI32 : DType::kF32);
}

}  // namespace ingot::cuda
