#include "devices/cuda/attention.h"

#include <cmath>

#include "devices/cuda/attention_pack.h"
#include "devices/cuda/attention_tiles.h"
#include "devices/cuda/kernel.h"

namespace ingot::cuda {
namespace {

constexpr int kQueries = 64;  // of a block
constexpr int kMaxHeadDim = 512;

// How a block of warps shares 64 queries of a head. Columns of q, k and v are in shared memory
// kChunk at a time; kColumnWarps warps have the same 16 queries: each makes a part of the scores'
// columns and of the output's.
template <class P, int keys, int chunk, int num_chunks, int column_warps>
struct Plan {
  using Product = P;
  using Element = typename P::Element;
  static constexpr int kKeys = keys;  // of a block of keys
  static constexpr int kChunk = chunk;
  static constexpr int kNumChunks = num_chunks;
  static constexpr int kColumnWarps = column_warps;
  static constexpr int kThreads = kQueries / kTile * kColumnWarps * kWarp;
  // Blocks that a multiprocessor has registers for: as many as need none in memory.
  static constexpr int kMinBlocks = kNumChunks == 1 ? 3 : 1;
  static constexpr int kScoreTiles = kKeys / kTile / kColumnWarps;  // of a warp
  static constexpr int kOutTiles = kChunk / kTile / kColumnWarps;   // of a warp and chunk

  // Rows are 16 bytes longer than their elements, so that the same columns of 8 rows lie in
  // different banks. The weights of a row lie where its scores were.
  static constexpr int kStride = kChunk + Piece<Element>::kSize;
  static constexpr int kScoreStride = kKeys + Piece<float>::kSize;
  static constexpr int kWeightStride =
      kScoreStride * static_cast<int>(sizeof(float) / sizeof(Element));
  struct Shared {
    alignas(128) Element q[kQueries * kStride];
    alignas(128) Element k[kKeys * kStride];
    alignas(128) Element v[kKeys * kStride];
    alignas(128) float scores[kQueries * kScoreStride];
    float factors[kQueries];
  };
  static_assert(sizeof(Shared) <= 48 << 10);
  static_assert(kPackedRows % kKeys == 0 && kPackedRows % kQueries == 0);
};

struct Operands {
  const std::byte *q, *k, *v;  // packed, with `columns` columns
  int columns, query_rows, key_rows;
  const float* bias;  // [bias_pictures, H, Lq, Lk] or null
  int bias_pictures;
  int num_queries, num_keys, head_dim;
  bool is_causal;
  float scale;
  float* out;
  int64_t out_stride;  // from token to token
};

// Some columns of rows that lie `columns` apart, into shared memory; what is behind them there is
// left as it is.
template <class P, int num_rows>
__device__ void LoadChunk(const typename P::Element* from, int columns, int first_column,
                          typename P::Element* to) {
  using Part = Piece<typename P::Element>;
  constexpr int kRowPieces = P::kChunk / Part::kSize;
  INGOT_UNROLL
  for (int first = 0; first < num_rows * kRowPieces; first += P::kThreads) {
    const int i = first + static_cast<int>(threadIdx.x);
    const int row = i / kRowPieces, column = i % kRowPieces * Part::kSize;
    if (i < num_rows * kRowPieces && first_column + column < columns) {
      Part::At(to + row * P::kStride + column) =
          Part::At(from + int64_t{row} * columns + first_column + column);
    }
  }
}

// FlashAttention-2 (Dao 2023, algorithm 1), exponents of 2. A block 64 queries of a head: grid
// (blocks of queries, heads, pictures).
template <class P>
__global__ void __launch_bounds__(P::kThreads, P::kMinBlocks) AttentionKernel(Operands operands) {
  using Product = typename P::Product;
  using Element = typename P::Element;
  using Sums = typename Product::Sums;
  constexpr float kLog2E = 1.44269504088896340736f;
  auto& shared = *DynamicShared<typename P::Shared>();

  const int thread = static_cast<int>(threadIdx.x), warp = thread / kWarp;
  const int64_t head = int64_t{blockIdx.z} * gridDim.y + blockIdx.y;  // of all pictures
  const int first_query = static_cast<int>(blockIdx.x) * kQueries;
  const int columns = operands.columns;
  const auto* q = reinterpret_cast<const Element*>(operands.q) +
                  (head * operands.query_rows + first_query) * columns;
  const auto* k = reinterpret_cast<const Element*>(operands.k) + head * operands.key_rows * columns;
  const auto* v = reinterpret_cast<const Element*>(operands.v) + head * operands.key_rows * columns;

  // As one of a warp of products: its tile of queries, and its part of their columns.
  const int first_row = warp / P::kColumnWarps * kTile, column_warp = warp % P::kColumnWarps;
  const float* row_factors = shared.factors + first_row;
  float* scratch = shared.scores + first_row * P::kScoreStride + column_warp * kTile;
  int rows[kTileElements];
  Product::FindRows(scratch, P::kScoreStride, rows);
  Sums out[P::kNumChunks][P::kOutTiles];
  INGOT_UNROLL
  for (auto& of_chunk : out) {
    INGOT_UNROLL
    for (Sums& tile : of_chunk) {
      INGOT_UNROLL
      for (int e = 0; e < kTileElements; ++e) tile.x[e] = 0.0f;
    }
  }

  // As one of the threads of a row of scores, all of one warp.
  constexpr int kRowThreads = P::kThreads / kQueries, kRowKeys = P::kKeys / kRowThreads;
  const int row = thread / kRowThreads, first_of_row = thread % kRowThreads * kRowKeys;
  const int query = first_query + row;
  float* row_scores = shared.scores + row * P::kScoreStride + first_of_row;
  auto* row_weights = reinterpret_cast<Element*>(shared.scores + row * P::kScoreStride);
  const float* bias = nullptr;
  if (operands.bias != nullptr && query < operands.num_queries) {
    const int64_t bias_head = int64_t{blockIdx.z} % operands.bias_pictures * gridDim.y + blockIdx.y;
    bias = operands.bias + (bias_head * operands.num_queries + query) * operands.num_keys;
  }
  float max = -INFINITY;
  float sum = 0.0f;  // of this thread's weights

  // Keys that a query of the block sees.
  const int causal_keys = first_query + kQueries;
  const int num_keys =
      operands.is_causal && causal_keys < operands.num_keys ? causal_keys : operands.num_keys;
  for (int first_key = 0; first_key < num_keys; first_key += P::kKeys) {
    Sums scores[P::kScoreTiles];
    INGOT_UNROLL
    for (Sums& tile : scores) {
      INGOT_UNROLL
      for (int e = 0; e < kTileElements; ++e) tile.x[e] = 0.0f;
    }
    for (int chunk = 0; chunk < P::kNumChunks; ++chunk) {
      const int first_column = chunk * P::kChunk;
      if (first_column >= columns) break;
      __syncthreads();  // nobody reads the chunks before
      if (P::kNumChunks > 1 || first_key == 0) {
        LoadChunk<P, kQueries>(q, columns, first_column, shared.q);
      }
      LoadChunk<P, P::kKeys>(k + int64_t{first_key} * columns, columns, first_column, shared.k);
      if (chunk == 0)
        LoadChunk<P, P::kKeys>(v + int64_t{first_key} * columns, columns, 0, shared.v);
      __syncthreads();
      INGOT_UNROLL
      for (int column = 0; column < P::kChunk; column += kTile) {
        if (first_column + column >= columns) break;
        const auto left = Product::LoadLeft(shared.q + first_row * P::kStride + column, P::kStride);
        INGOT_UNROLL
        for (int i = 0; i < P::kScoreTiles; ++i) {
          const int key = (column_warp * P::kScoreTiles + i) * kTile;
          Product::template MultiplyAdd<wmma::col_major>(
              scores[i], left, shared.k + key * P::kStride + column, P::kStride);
        }
      }
    }
    INGOT_UNROLL
    for (int i = 0; i < P::kScoreTiles; ++i) {
      Product::Store(
          scores[i],
          shared.scores + first_row * P::kScoreStride + (column_warp * P::kScoreTiles + i) * kTile,
          P::kScoreStride);
    }
    __syncthreads();

    // Scores to weights, with the row's largest score so far as their unit.
    float values[kRowKeys];
    float largest = max;
    INGOT_UNROLL
    for (int i = 0; i < kRowKeys; i += 4) {
      const Piece<float> four = Piece<float>::At(row_scores + i);
      INGOT_UNROLL
      for (int j = 0; j < 4; ++j) {
        const int key = first_key + first_of_row + i + j;
        float value = four.values[j] * (operands.scale * kLog2E);
        if (bias != nullptr && key < operands.num_keys) {
          value = __fmaf_rn(bias[key], kLog2E, value);
        }
        if (key >= operands.num_keys || (operands.is_causal && key > query)) value = -INFINITY;
        values[i + j] = value;
        largest = fmaxf(largest, value);
      }
    }
    INGOT_UNROLL
    for (int mask = kRowThreads / 2; mask > 0; mask /= 2) {
      largest = fmaxf(largest, __shfl_xor_sync(0xffffffffu, largest, mask));
    }
    const float unit = largest == -INFINITY ? 0.0f : largest;  // all hidden so far
    const float factor = exp2f(max - unit);
    max = largest;
    sum *= factor;
    __syncwarp();  // the row's scores have been read
    INGOT_UNROLL
    for (int i = 0; i < kRowKeys; i += Piece<Element>::kSize) {
      Piece<Element> weights;
      INGOT_UNROLL
      for (int j = 0; j < Piece<Element>::kSize; ++j) {
        weights.values[j] = FromFloat<Element>(exp2f(values[i + j] - unit));
        sum += ToFloat(weights.values[j]);  // as the products see them: they sum to 1
      }
      Piece<Element>::At(row_weights + first_of_row + i) = weights;
    }
    if (first_of_row == 0) shared.factors[row] = factor;
    __syncthreads();

    float factors[kTileElements];
    bool is_rescaled = false;
    INGOT_UNROLL
    for (int e = 0; e < kTileElements; ++e) {
      factors[e] = row_factors[rows[e]];
      is_rescaled |= factors[e] != 1.0f;
    }
    const auto* weights =
        reinterpret_cast<const Element*>(shared.scores) + first_row * P::kWeightStride;
    INGOT_UNROLL
    for (int chunk = 0; chunk < P::kNumChunks; ++chunk) {
      if (chunk * P::kChunk >= columns) break;
      if (chunk > 0) {
        __syncthreads();  // nobody reads the chunk before
        LoadChunk<P, P::kKeys>(v + int64_t{first_key} * columns, columns, chunk * P::kChunk,
                               shared.v);
        __syncthreads();
      }
      if (is_rescaled) {
        INGOT_UNROLL
        for (Sums& tile : out[chunk]) {
          INGOT_UNROLL
          for (int e = 0; e < kTileElements; ++e) tile.x[e] *= factors[e];
        }
      }
      INGOT_UNROLL
      for (int key = 0; key < P::kKeys; key += kTile) {
        const auto left = Product::LoadLeft(weights + key, P::kWeightStride);
        INGOT_UNROLL
        for (int i = 0; i < P::kOutTiles; ++i) {
          const int column = (column_warp * P::kOutTiles + i) * kTile;
          if (chunk * P::kChunk + column >= columns) break;
          Product::template MultiplyAdd<wmma::row_major>(
              out[chunk][i], left, shared.v + key * P::kStride + column, P::kStride);
        }
      }
    }
  }

  INGOT_UNROLL
  for (int mask = kRowThreads / 2; mask > 0; mask /= 2) {
    sum += __shfl_xor_sync(0xffffffffu, sum, mask);
  }
  __syncthreads();  // nobody reads the last factors and weights
  if (first_of_row == 0) shared.factors[row] = 1.0f / sum;
  __syncthreads();
  INGOT_UNROLL
  for (int chunk = 0; chunk < P::kNumChunks; ++chunk) {
    INGOT_UNROLL
    for (int i = 0; i < P::kOutTiles; ++i) {
      const int first_column = chunk * P::kChunk + (column_warp * P::kOutTiles + i) * kTile;
      if (first_column >= columns) break;
      Sums& tile = out[chunk][i];
      INGOT_UNROLL
      for (int e = 0; e < kTileElements; ++e) tile.x[e] *= row_factors[rows[e]];
      Product::Store(tile, scratch, P::kScoreStride);
      __syncwarp();
      for (int j = thread % kWarp; j < kTile * kTile; j += kWarp) {
        const int token = first_query + first_row + j / kTile, column = first_column + j % kTile;
        if (token < operands.num_queries && column < operands.head_dim) {
          operands.out[(int64_t{blockIdx.z} * operands.num_queries + token) * operands.out_stride +
                       int64_t{blockIdx.y} * operands.head_dim + column] =
              scratch[j / kTile * P::kScoreStride + j % kTile];
        }
      }
      __syncwarp();
    }
  }
}

// Causal attention is of short texts, that decide the whole picture: always exact.
bool IsExact(const op::Attention& op) { return op.compute == op::Compute::kF32 || op.causal; }

// Bytes of an operand [B, L, H, Dh] when it is packed.
int64_t PackedBytes(const op::Attention& op, const Shape& x) {
  const int64_t element_bytes = IsExact(op) ? 4 : 2;
  return x[0] * RoundUp(x[1], kPackedRows) * x[2] * RoundUp(x[3], kTile) * element_bytes;
}

template <class P>
void Attend(const op::Attention& op, const OpCall& call, const Context& context) {
  const Shape &queries = call.inputs[0].shape, &keys = call.inputs[1].shape;
  std::byte* q = call.workspace.data();
  std::byte* k = q + PackedBytes(op, queries);
  std::byte* v = k + PackedBytes(op, keys);
  PackHeads<typename P::Product>(call.inputs[0], q, context.stream);
  PackHeads<typename P::Product>(call.inputs[1], k, context.stream);
  PackHeads<typename P::Product>(call.inputs[2], v, context.stream);

  const bool has_bias = call.inputs.size() == 4;
  const Operands operands = {
      .q = q,
      .k = k,
      .v = v,
      .columns = static_cast<int>(RoundUp(queries[3], kTile)),
      .query_rows = static_cast<int>(RoundUp(queries[1], kPackedRows)),
      .key_rows = static_cast<int>(RoundUp(keys[1], kPackedRows)),
      .bias = has_bias ? FloatsOf(call.inputs[3]) : nullptr,
      .bias_pictures = has_bias ? static_cast<int>(call.inputs[3].shape[0]) : 1,
      .num_queries = static_cast<int>(queries[1]),
      .num_keys = static_cast<int>(keys[1]),
      .head_dim = static_cast<int>(queries[3]),
      .is_causal = op.causal,
      .scale = op.scale,
      .out = FloatsOf(call.output),
      .out_stride = call.output.RowStride(queries[2] * queries[3])};
  Launch({dim3(static_cast<unsigned>(operands.query_rows / kQueries),
               static_cast<unsigned>(queries[2]), static_cast<unsigned>(queries[0])),
          dim3(P::kThreads), sizeof(typename P::Shared)},
         context.stream, AttentionKernel<P>, operands);
}

}  // namespace

void Run(const op::Attention& op, const OpCall& call, const Context& context) {
  const int64_t head_dim = call.inputs[0].shape[3];
  INGOT_CHECK(head_dim <= kMaxHeadDim);
  if (IsExact(op)) {
    if (head_dim <= 64) return Attend<Plan<PlainF32, 32, 64, 1, 1>>(op, call, context);
    if (head_dim <= 128) return Attend<Plan<PlainF32, 32, 64, 2, 1>>(op, call, context);
    return Attend<Plan<PlainF32, 32, 64, 8, 2>>(op, call, context);
  }
  if (head_dim <= 64) return Attend<Plan<TensorCores, 64, 64, 1, 1>>(op, call, context);
  if (head_dim <= 128) return Attend<Plan<TensorCores, 32, 128, 1, 1>>(op, call, context);
  return Attend<Plan<TensorCores, 32, 128, 4, 2>>(op, call, context);
}

int64_t WorkspaceBytes(const op::Attention& op, const OpSignature& signature) {
  return PackedBytes(op, signature.input_shapes[0]) +
         2 * PackedBytes(op, signature.input_shapes[1]);
}

}  // namespace ingot::cuda
