#include "devices/cpu/attention.h"

#include <algorithm>
#include <limits>

// Compiles the code below once per SIMD target.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "devices/cpu/attention.cc"
#include <hwy/foreach_target.h>  // IWYU pragma: keep

#include "devices/cpu/simd-inl.h"

#ifndef INGOT_DEVICES_CPU_ATTENTION_ONCE_
#define INGOT_DEVICES_CPU_ATTENTION_ONCE_
namespace ingot::cpu {
namespace {

// Queries of a block: two zmm or four ymm. Twice as many would halve the reads
// of K and V, but the scores would leave L2 beyond 4096 keys.
constexpr size_t kBlock = 32;

// Terms of a sum taken in one go: 32 KiB of transposed queries or scores, and
// such a slice of V, are read from cache for all columns.
constexpr size_t kDepth = 256;

// `num_queries` rows of one head against its keys. `bias` may be null.
struct QueryBlock {
  const float* queries;
  const float* keys;
  const float* values;
  const float* bias;
  size_t first_query, num_queries;
  size_t num_keys;  // Lk, also the row length of the bias
  size_t head_dim;
  float scale;
  bool causal;
  float* scores;   // [Lk, kBlock]
  float* columns;  // [Dh, kBlock]: the queries, then the output, transposed
  float* out;
};

}  // namespace
}  // namespace ingot::cpu
#endif  // INGOT_DEVICES_CPU_ATTENTION_ONCE_

HWY_BEFORE_NAMESPACE();
namespace ingot::cpu {
namespace HWY_NAMESPACE {
namespace {

constexpr hn::ScalableTag<float> kTag;
using V = hn::Vec<decltype(kTag)>;

// Two vectors of queries times this many columns are the accumulators: 16 of
// 32 registers with AVX-512, 12 of 16 with AVX2.
constexpr size_t kColumns = hn::MaxLanes(kTag) == 16 ? 8 : 6;

// A matrix read one element at a time.
struct Elements {
  const float* data;
  size_t row_step, column_step;
};

// out[c, q] += sum over i < n of a[i, q] * b(i, c), for kCount columns c and two
// vectors of lanes q; `fresh` takes out as 0. a, out: rows of kBlock.
template <size_t kCount>
HWY_INLINE void MultiplyTile(const float* HWY_RESTRICT a, const Elements& b, size_t n, bool fresh,
                             float* HWY_RESTRICT out) {
  const size_t lanes = hn::Lanes(kTag);
  V sum0[kCount], sum1[kCount];
  for (size_t c = 0; c < kCount; ++c) {
    sum0[c] = fresh ? hn::Zero(kTag) : hn::Load(kTag, out + c * kBlock);
    sum1[c] = fresh ? hn::Zero(kTag) : hn::Load(kTag, out + c * kBlock + lanes);
  }
  const float* row = b.data;
  for (size_t i = 0; i < n; ++i, a += kBlock, row += b.row_step) {
    const V a0 = hn::Load(kTag, a);
    const V a1 = hn::Load(kTag, a + lanes);
    for (size_t c = 0; c < kCount; ++c) {
      const V element = hn::Set(kTag, row[c * b.column_step]);
      sum0[c] = hn::MulAdd(a0, element, sum0[c]);
      sum1[c] = hn::MulAdd(a1, element, sum1[c]);
    }
  }
  for (size_t c = 0; c < kCount; ++c) {
    hn::Store(sum0[c], kTag, out + c * kBlock);
    hn::Store(sum1[c], kTag, out + c * kBlock + lanes);
  }
}

// out[c, q] = sum over i < n of a[i, q] * b(i, c), for all columns and queries.
void Multiply(const float* a, const Elements& b, size_t n, size_t num_columns, float* out) {
  for (size_t i = 0; i < n; i += kDepth) {
    const auto tile = [&]<size_t kCount>(size_t c) {
      const Elements part = {b.data + i * b.row_step + c * b.column_step, b.row_step,
                             b.column_step};
      for (size_t q = 0; q < kBlock; q += 2 * hn::Lanes(kTag)) {
        MultiplyTile<kCount>(a + i * kBlock + q, part, std::min(kDepth, n - i), i == 0,
                             out + c * kBlock + q);
      }
    };
    size_t c = 0;
    for (; c + kColumns <= num_columns; c += kColumns) tile.template operator()<kColumns>(c);
    for (; c + 2 <= num_columns; c += 2) tile.template operator()<2>(c);
    for (; c < num_columns; ++c) tile.template operator()<1>(c);
  }
}

void LoadQueries(const QueryBlock& block) {
  std::fill_n(block.columns, block.head_dim * kBlock, 0.0f);
  for (size_t q = 0; q < block.num_queries; ++q) {
    for (size_t d = 0; d < block.head_dim; ++d) {
      block.columns[d * kBlock + q] = block.queries[q * block.head_dim + d] * block.scale;
    }
  }
}

void AddBias(const QueryBlock& block, size_t num_keys) {
  constexpr size_t kTile = 16;  // keys whose scores stay in L1 for all queries
  for (size_t begin = 0; begin < num_keys; begin += kTile) {
    for (size_t q = 0; q < block.num_queries; ++q) {
      const float* bias = block.bias + q * block.num_keys;
      for (size_t j = begin; j < std::min(begin + kTile, num_keys); ++j) {
        block.scores[j * kBlock + q] += bias[j];
      }
    }
  }
}

// Query q sees the keys [0, first_query + q].
void HideLaterKeys(const QueryBlock& block, size_t num_keys) {
  for (size_t j = block.first_query + 1; j < num_keys; ++j) {
    std::fill_n(block.scores + j * kBlock, std::min(j - block.first_query, kBlock),
                -std::numeric_limits<float>::infinity());
  }
}

// Turns the scores at lanes [q, q + Lanes) into exp(score - max) and returns
// their sum. Four partial sums: one would wait on the latency of the additions.
V Exponentials(float* scores, size_t num_keys) {
  V max = hn::Load(kTag, scores);
  for (size_t j = 1; j < num_keys; ++j) max = hn::Max(max, hn::Load(kTag, scores + j * kBlock));
  V sums[4] = {hn::Zero(kTag), hn::Zero(kTag), hn::Zero(kTag), hn::Zero(kTag)};
  const auto step = [&](size_t j, V& sum) {
    const V p = Exp(kTag, hn::Sub(hn::Load(kTag, scores + j * kBlock), max));
    hn::Store(p, kTag, scores + j * kBlock);
    sum = hn::Add(sum, p);
  };
  size_t j = 0;
  for (; j + 4 <= num_keys; j += 4) {
    for (size_t i = 0; i < 4; ++i) step(j + i, sums[i]);
  }
  for (size_t i = 0; j < num_keys; ++j, ++i) step(j, sums[i]);
  return hn::Add(hn::Add(sums[0], sums[1]), hn::Add(sums[2], sums[3]));
}

void StoreOutput(const QueryBlock& block) {
  for (size_t q = 0; q < block.num_queries; ++q) {
    for (size_t d = 0; d < block.head_dim; ++d) {
      block.out[q * block.head_dim + d] = block.columns[d * kBlock + q];
    }
  }
}

void Attend(const QueryBlock& block) {
  const size_t dim = block.head_dim;
  const size_t num_keys = block.causal
                              ? std::min(block.num_keys, block.first_query + block.num_queries)
                              : block.num_keys;
  LoadQueries(block);
  Multiply(block.columns, {block.keys, 1, dim}, dim, num_keys, block.scores);
  if (block.bias != nullptr) AddBias(block, num_keys);
  if (block.causal) HideLaterKeys(block, num_keys);
  alignas(64) float inv_sums[kBlock];
  for (size_t q = 0; q < kBlock; q += hn::Lanes(kTag)) {
    const V sum = Exponentials(block.scores + q, num_keys);
    hn::Store(hn::Div(hn::Set(kTag, 1.0f), sum), kTag, inv_sums + q);
  }
  Multiply(block.scores, {block.values, dim, 1}, num_keys, dim, block.columns);
  for (size_t i = 0; i < dim * kBlock; i += hn::Lanes(kTag)) {
    const V inv_sum = hn::Load(kTag, inv_sums + i % kBlock);
    hn::Store(hn::Mul(hn::Load(kTag, block.columns + i), inv_sum), kTag, block.columns + i);
  }
  StoreOutput(block);
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace ingot::cpu
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace ingot::cpu {
namespace {

size_t WorkspaceElements(const Shape& keys) {
  return static_cast<size_t>(keys[2] + keys[3]) * kBlock;
}

QueryBlock MakeBlock(const op::Attention& op, const OpCall& call, size_t item, size_t thread_idx) {
  const Shape &q = call.inputs[0].shape, &k = call.inputs[1].shape;
  const size_t num_queries = static_cast<size_t>(q[2]);
  const size_t num_keys = static_cast<size_t>(k[2]);
  const size_t head_dim = static_cast<size_t>(q[3]);
  const size_t num_blocks = (num_queries + kBlock - 1) / kBlock;
  const size_t head = item / num_blocks;
  const size_t first = item % num_blocks * kBlock;
  const size_t row = (head * num_queries + first) * head_dim;
  const float* bias = nullptr;
  if (call.inputs.size() == 4) {
    // A bias of one picture serves the whole batch.
    const size_t bias_head = head % static_cast<size_t>(call.inputs[3].shape[0] * q[1]);
    bias = call.inputs[3].As<float>().data() + (bias_head * num_queries + first) * num_keys;
  }
  float* workspace =
      reinterpret_cast<float*>(call.workspace.data()) + thread_idx * WorkspaceElements(k);
  return {.queries = call.inputs[0].As<float>().data() + row,
          .keys = call.inputs[1].As<float>().data() + head * num_keys * head_dim,
          .values = call.inputs[2].As<float>().data() + head * num_keys * head_dim,
          .bias = bias,
          .first_query = first,
          .num_queries = std::min(kBlock, num_queries - first),
          .num_keys = num_keys,
          .head_dim = head_dim,
          .scale = op.scale,
          .causal = op.causal,
          .scores = workspace,
          .columns = workspace + num_keys * kBlock,
          .out = call.output.As<float>().data() + row};
}

}  // namespace

HWY_EXPORT(Attend);

void Run(const op::Attention& op, const OpCall& call, ThreadPool& pool) {
  const Shape& q = call.inputs[0].shape;
  const size_t num_blocks = (static_cast<size_t>(q[2]) + kBlock - 1) / kBlock;
  pool.ParallelFor(static_cast<size_t>(q[0] * q[1]) * num_blocks,
                   [&op, &call](size_t item, size_t thread_idx) {
                     HWY_DYNAMIC_DISPATCH(Attend)(MakeBlock(op, call, item, thread_idx));
                   });
}

int64_t WorkspaceBytes(const op::Attention&, const OpSignature& signature, size_t num_threads) {
  return static_cast<int64_t>(num_threads * WorkspaceElements(signature.input_shapes[1]) *
                              sizeof(float));
}

}  // namespace ingot::cpu
#endif  // HWY_ONCE
