// Queries, keys and values of attention in the order and the type of its products.
#pragma once

#include "devices/cuda/attention_tiles.h"
#include "devices/cuda/kernel.h"

namespace ingot::cuda {

inline constexpr int kPackedRows = 64;  // packed operands have a multiple of so many rows

constexpr int64_t RoundUp(int64_t n, int64_t unit) { return (n + unit - 1) / unit * unit; }

// x [B, L, H, Dh] -> packed [B, H, rows, columns] in the elements of the products, with zeros
// behind L and Dh. A block a row: grid (rows, pictures).
template <class Product>
__global__ void PackHeadsKernel(const float* x, int64_t stride, bool is_aligned, int num_rows,
                                int num_heads, int head_dim, int columns, std::byte* packed) {
  using Element = typename Product::Element;
  using Out = Piece<Element>;
  auto* out = reinterpret_cast<Element*>(packed);
  const int row = static_cast<int>(blockIdx.x), picture = static_cast<int>(blockIdx.y);
  const int row_pieces = columns / Out::kSize;
  for (int i = static_cast<int>(threadIdx.x); i < num_heads * row_pieces; i += blockDim.x) {
    const int head = i / row_pieces, column = i % row_pieces * Out::kSize;
    const float* from =
        x + (int64_t{picture} * num_rows + row) * stride + int64_t{head} * head_dim + column;
    float values[Out::kSize] = {};
    if (row < num_rows && is_aligned && column + Out::kSize <= head_dim) {
      INGOT_UNROLL
      for (int j = 0; j < Out::kSize; j += 4) {
        const Piece<float> four = Piece<float>::At(from + j);
        INGOT_UNROLL
        for (int k = 0; k < 4; ++k) values[j + k] = four.values[k];
      }
    } else if (row < num_rows) {
      INGOT_UNROLL
      for (int j = 0; j < Out::kSize; ++j) {
        if (column + j < head_dim) values[j] = from[j];
      }
    }
    Out piece;
    INGOT_UNROLL
    for (int j = 0; j < Out::kSize; ++j) piece.values[j] = FromFloat<Element>(values[j]);
    const int64_t packed_row = (int64_t{picture} * num_heads + head) * gridDim.x + row;
    Out::At(out + packed_row * columns + column) = piece;
  }
}

template <class Product>
void PackHeads(const ConstTensorView& x, std::byte* packed, cudaStream_t stream) {
  const Shape& shape = x.shape;
  const int64_t stride = x.RowStride(shape[2] * shape[3]);
  const bool is_aligned = reinterpret_cast<uintptr_t>(x.data) % sizeof(Piece<float>) == 0 &&
                          stride % 4 == 0 && shape[3] % 4 == 0;
  Launch(
      {dim3(static_cast<unsigned>(RoundUp(shape[1], kPackedRows)), static_cast<unsigned>(shape[0])),
       dim3(128)},
      stream, PackHeadsKernel<Product>, FloatsOf(x), stride, is_aligned, static_cast<int>(shape[1]),
      static_cast<int>(shape[2]), static_cast<int>(shape[3]),
      static_cast<int>(RoundUp(shape[3], kTile)), packed);
}

}  // namespace ingot::cuda
