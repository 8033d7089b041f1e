#include "devices/cpu/linear_int16.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <utility>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "devices/cpu/linear_int16.cc"
#include <hwy/foreach_target.h>  // IWYU pragma: keep

#include "devices/cpu/dequantize-inl.h"
#include "devices/cpu/dot_products-inl.h"
#include "devices/cpu/linear_rows-inl.h"
#include "devices/cpu/linear_store-inl.h"
#include "devices/cpu/simd-inl.h"
#include "devices/cpu/transpose-inl.h"

#ifndef INGOT_DEVICES_CPU_LINEAR_INT16_ONCE_
#define INGOT_DEVICES_CPU_LINEAR_INT16_ONCE_
namespace ingot::cpu {

inline constexpr size_t kScaleK = 256;        // K that share a scale
inline constexpr size_t kPanelFeatures = 64;  // features of one item of work
// Rows whose partial sums stay in L2 (96 KiB) while the blocks of K pass.
inline constexpr size_t kChunkRows = 384;
inline constexpr size_t kTileRows = 6;
static_assert(kChunkRows % kTileRows == 0);
inline constexpr size_t kQuantizeRows = 16;  // of one item of work
inline constexpr size_t kRuns = 16;          // runs of kScaleK quantized and transposed together
inline constexpr size_t kGroupBytes = size_t{26} << 20;

// Norm that the scale of a block aims at: rounding adds 1/2 to each of 256 integers, 8 to the norm;
// the f32 sums that the scale is made of are off by 2^-19 of themselves at most, 0.1. The product
// of two norms stays below 2^31.
inline constexpr float kNorm = 46331.0f;
static_assert((kNorm + 9.0) * (kNorm + 9.0) < 0x1p31);
// Least max|v| of a block: keeps 1 / s finite.
inline constexpr float kLeastMax = 0x1p-100f;

struct Int16Scratch {
  int16_t* panel;       // [K blocks][feature tiles][128 pairs of K][features of a tile][2]
  float* panel_scales;  // [K blocks][kPanelFeatures]
  float* sums;          // [kChunkRows][kPanelFeatures]
};

// Where the workspace keeps what; bytes, all multiples of kTensorAlignment.
struct Int16Workspace {
  Int16Workspace(size_t num_rows, size_t num_k)
      : num_blocks(hwy::DivCeil(num_k, kScaleK)),
        group_rows(std::min(
            hwy::RoundUpTo(num_rows, kTileRows),
            std::max<size_t>(kGroupBytes / (num_blocks * kScaleK * 2) / kTileRows, 1) * kTileRows)),
        slab_bytes(num_blocks * group_rows * kScaleK * sizeof(int16_t)),
        slab_scales_bytes(
            hwy::RoundUpTo(num_blocks * group_rows * sizeof(float), size_t{kTensorAlignment})),
        panel_bytes(num_blocks * kScaleK * kPanelFeatures * sizeof(int16_t)),
        panel_scales_bytes(num_blocks * kPanelFeatures * sizeof(float)) {}

  size_t thread_bytes() const {
    return panel_bytes + panel_scales_bytes + kChunkRows * kPanelFeatures * sizeof(float);
  }
  size_t total_bytes(size_t num_threads) const {
    return slab_bytes + slab_scales_bytes + num_threads * thread_bytes();
  }

  size_t num_blocks, group_rows;
  size_t slab_bytes, slab_scales_bytes, panel_bytes, panel_scales_bytes;
};

struct Int16Job {
  const LinearCall& call;
  Int16Workspace layout;
  std::byte* workspace;
  const std::stop_token* stop;
  size_t group_begin, group_rows;  // the rows of x that are in the slab now

  // Values and scale of slab row `row` at block `block` of K; the next row's are behind.
  int16_t* SlabRow(size_t block, size_t row) const {
    return reinterpret_cast<int16_t*>(workspace) + (block * layout.group_rows + row) * kScaleK;
  }
  float* SlabScale(size_t block, size_t row) const {
    return reinterpret_cast<float*>(workspace + layout.slab_bytes) + block * layout.group_rows +
           row;
  }
  Int16Scratch Scratch(size_t thread) const {
    std::byte* panel =
        workspace + layout.slab_bytes + layout.slab_scales_bytes + thread * layout.thread_bytes();
    std::byte* panel_scales = panel + layout.panel_bytes;
    return {.panel = reinterpret_cast<int16_t*>(panel),
            .panel_scales = reinterpret_cast<float*>(panel_scales),
            .sums = reinterpret_cast<float*>(panel_scales + layout.panel_scales_bytes)};
  }
};

}  // namespace ingot::cpu
#endif  // INGOT_DEVICES_CPU_LINEAR_INT16_ONCE_

HWY_BEFORE_NAMESPACE();
namespace ingot::cpu {
namespace HWY_NAMESPACE {
namespace {

using DF = hn::ScalableTag<float>;
using DU32 = hn::ScalableTag<uint32_t>;
using DI32 = hn::ScalableTag<int32_t>;
using DI16 = hn::ScalableTag<int16_t>;
constexpr size_t kLanes = HWY_MAX_BYTES / sizeof(float);

// A tile's sums fill the 32 registers of AVX-512 or the 16 of AVX2 but for the weights (kVectors),
// one pair of x and one product.
constexpr size_t kVectors = kLanes == 16 ? 4 : 2;
constexpr size_t kTileFeatures = kVectors * kLanes;
static_assert(kPanelFeatures % kTileFeatures == 0 && kTileFeatures % kRuns == 0 &&
              kRuns == kTransposedRows);

// ---- Quantizing

// max|v| of a run by its bits: NaN and infinity are larger than all numbers.
float MaxAbs(const float* values, size_t count) {
  const DF d;
  const DI32 di;
  auto max0 = hn::Zero(di), max1 = hn::Zero(di);
  for (size_t i = 0; i < count; i += 2 * kLanes) {
    max0 = hn::Max(max0, hn::BitCast(di, hn::Abs(hn::LoadU(d, values + i))));
    max1 = hn::Max(max1, hn::BitCast(di, hn::Abs(hn::LoadU(d, values + i + kLanes))));
  }
  return std::bit_cast<float>(hn::GetLane(hn::MaxOfLanes(di, hn::Max(max0, max1))));
}

// Root of the sum of (v * factor)^2, in 16 lanes and one tree: the same bits on every level.
float NormOf(const float* values, size_t count, float factor) {
  const DF d;
  const auto scale = hn::Set(d, factor);
  auto sum0 = hn::Zero(d), sum1 = hn::Zero(d);
  for (size_t i = 0; i < count; i += 16) {
    const auto v0 = hn::Mul(hn::LoadU(d, values + i), scale);
    sum0 = hn::MulAdd(v0, v0, sum0);
    if (kLanes == 16) continue;
    const auto v1 = hn::Mul(hn::LoadU(d, values + i + 8), scale);
    sum1 = hn::MulAdd(v1, v1, sum1);
  }
  const hn::CappedTag<float, 4> d4;
#if HWY_MAX_BYTES == 64
  const hn::Half<DF> d8;
  const auto sum8 = hn::Add(hn::LowerHalf(d8, sum0), hn::UpperHalf(d8, sum0));
#else
  const auto sum8 = hn::Add(sum0, sum1);
#endif
  alignas(16) float lanes[4];
  hn::Store(hn::Add(hn::LowerHalf(d4, sum8), hn::UpperHalf(d4, sum8)), d4, lanes);
  return std::sqrt((lanes[0] + lanes[2]) + (lanes[1] + lanes[3]));
}

// out = round(values * factor) to nearest, ties to even; |values * factor| <= 32767. The order
// within each 2 * kLanes is that of packssdw, the same for x and weights.
void RoundToInt16(const float* values, size_t count, float factor, int16_t* out) {
  const DF d;
  const DI32 di;
  const DI16 di16;
  // Added to 1.5 * 2^23, a number is rounded to an integer that stands in the low bits.
  const auto magic = hn::Set(d, 0x1.8p23f);
  const auto round = [&](const float* from) INGOT_UNROLLED {
    const auto sum = hn::MulAdd(hn::LoadU(d, from), hn::Set(d, factor), magic);
    return hn::Sub(hn::BitCast(di, sum), hn::BitCast(di, magic));
  };
  for (size_t i = 0; i < count; i += 2 * kLanes) {
    hn::StoreU(hn::ReorderDemote2To(di16, round(values + i), round(values + i + kLanes)), di16,
               out + i);
  }
}

// Runs of at most kScaleK values that are quantized together, so that the latency of one scale
// hides behind the others.
struct Runs {
  const float* values[kRuns];
  size_t count[kRuns];  // multiples of 32
  int16_t* out[kRuns];
  float scale[kRuns];
};

// Integers and scale of each run; the scale of one with a NaN or an infinity is NaN.
void QuantizeRuns(Runs& runs, size_t num_runs) {
  float max[kRuns], factor[kRuns];
  for (size_t r = 0; r < num_runs; ++r) max[r] = MaxAbs(runs.values[r], runs.count[r]);
  for (size_t r = 0; r < num_runs; ++r) {
    runs.scale[r] = std::numeric_limits<float>::quiet_NaN();
    if (!std::isfinite(max[r])) continue;
    max[r] = std::max(max[r], kLeastMax);
    const float norm = NormOf(runs.values[r], runs.count[r], 1.0f / max[r]);
    const float limit = std::min(32767.0f, kNorm / norm);
    factor[r] = limit / max[r];
    runs.scale[r] = max[r] / limit;
  }
  for (size_t r = 0; r < num_runs; ++r) {
    if (std::isnan(runs.scale[r])) {
      std::fill_n(runs.out[r], runs.count[r], int16_t{0});
    } else {
      RoundToInt16(runs.values[r], runs.count[r], factor[r], runs.out[r]);
    }
  }
}

// K of a block, and K with the zeros that fill up the last one: a multiple of 32.
struct BlockSize {
  size_t num_k, count;
};
BlockSize SizeOfBlock(const Int16Job& job, size_t block) {
  const size_t num_k = std::min(kScaleK, job.call.num_k - block * kScaleK);
  return {num_k, hwy::RoundUpTo(num_k, size_t{32})};
}

void QuantizeRow(const Int16Job& job, size_t row) {
  alignas(64) float buffer[kRuns][kScaleK];
  Runs runs;
  const RowNorm norm = NormOfRow(job.call, job.group_begin + row);
  for (size_t begin = 0; begin < job.layout.num_blocks; begin += kRuns) {
    const size_t num_runs = std::min(kRuns, job.layout.num_blocks - begin);
    for (size_t r = 0; r < num_runs; ++r) {
      const size_t block = begin + r;
      const auto [num_k, count] = SizeOfBlock(job, block);
      const float* values =
          MakeRow(job.call, job.group_begin + row, norm, block * kScaleK, num_k, buffer[r]);
      if (count != num_k) {
        if (values != buffer[r]) std::copy_n(values, num_k, buffer[r]);
        std::fill(buffer[r] + num_k, buffer[r] + count, 0.0f);
        values = buffer[r];
      }
      runs.values[r] = values;
      runs.count[r] = count;
      runs.out[r] = job.SlabRow(block, row);
    }
    QuantizeRuns(runs, num_runs);
    for (size_t r = 0; r < num_runs; ++r) *job.SlabScale(begin + r, row) = runs.scale[r];
  }
}

// Item `item` of kQuantizeRows rows of the group into the slab; zeros behind its last row.
void QuantizeRows(const Int16Job& job, size_t item) {
  const size_t begin = item * kQuantizeRows;
  const size_t end = std::min(begin + kQuantizeRows, hwy::RoundUpTo(job.group_rows, kTileRows));
  for (size_t row = begin; row < std::min(end, job.group_rows); ++row) QuantizeRow(job, row);
  for (size_t row = std::max(begin, job.group_rows); row < end; ++row) {
    for (size_t block = 0; block < job.layout.num_blocks; ++block) {
      std::fill_n(job.SlabRow(block, row), kScaleK, int16_t{0});
      *job.SlabScale(block, row) = 0.0f;
    }
  }
}

// ---- Weights

// Pairs of K of kRuns features, lying kScaleK values apart, to [pair][features], pairs
// kTileFeatures apart.
void TransposePairs(const int16_t* rows, size_t num_pairs, int16_t* columns) {
  const DU32 d;
  const auto* from = reinterpret_cast<const uint32_t*>(rows);
  auto* to = reinterpret_cast<uint32_t*>(columns);
  for (size_t pair = 0; pair < num_pairs; pair += kLanes) {
    const auto load = [&](size_t r)
                          INGOT_UNROLLED { return hn::Load(d, from + r * (kScaleK / 2) + pair); };
    TransposeDwords(load, to + pair * kTileFeatures, kTileFeatures);
  }
}

// The panel's features, quantized and transposed; zeros behind the last feature.
void PackPanel(const Int16Job& job, size_t panel_begin, const Int16Scratch& scratch) {
  const WeightRuns weight(job.call.weight);
  alignas(64) float values[kRuns][kScaleK];
  alignas(64) int16_t rows[kRuns * kScaleK];
  Runs runs;
  for (size_t n = 0; n < kPanelFeatures; n += kRuns) {
    const size_t feature = panel_begin + n;
    const size_t num_runs =
        std::min(kRuns, job.call.num_features - std::min(job.call.num_features, feature));
    for (size_t block = 0; block < job.layout.num_blocks; ++block) {
      const size_t count = SizeOfBlock(job, block).count;
      float* scales = scratch.panel_scales + block * kPanelFeatures + n;
      std::fill_n(scales, kRuns, 0.0f);
      std::fill(rows + num_runs * kScaleK, rows + kRuns * kScaleK, int16_t{0});
      const bool is_last = block + 1 == job.layout.num_blocks;
      for (size_t r = 0; r < num_runs; ++r) {
        // The next run to come: rows lie pages apart, the hardware does not see it.
        weight.Prefetch(feature + r + (is_last ? kRuns : 0), is_last ? 0 : block + 1);
        weight.Dequantize(feature + r, block, values[r]);
        runs.values[r] = values[r];
        runs.count[r] = count;
        runs.out[r] = rows + r * kScaleK;
      }
      QuantizeRuns(runs, num_runs);
      for (size_t r = 0; r < num_runs; ++r) scales[r] = runs.scale[r] * job.call.weight.scale;
      const size_t tile = n / kTileFeatures * kTileFeatures;
      TransposePairs(rows, count / 2,
                     scratch.panel + (block * kPanelFeatures + tile) * kScaleK + (n - tile) * 2);
    }
  }
}

// ---- Products

struct Int16Tile {
  const int16_t* x;  // kTileRows, kScaleK apart
  const float* x_scales;
  const int16_t* w;  // [pairs][kTileFeatures][2]
  const float* w_scales;
  size_t num_pairs;  // a multiple of 16
  float* sums;       // rows kPanelFeatures apart
};

// sums = (first block of K ? 0 : sums) + scaled products
template <bool kFirst>
HWY_NOINLINE void MultiplyTile(const Int16Tile& tile) {
  const DF d;
  const DI32 di;
  hn::Vec<DI32> sums[kTileRows * kVectors];
  Unroll<kTileRows * kVectors>([&](auto i) INGOT_UNROLLED { sums[i] = hn::Zero(di); });
  const int16_t* x = tile.x;
  const int16_t* w = tile.w;
  const int16_t* ahead = x + 2 * kTileRows * kScaleK;
  for (size_t pair = 0; pair < tile.num_pairs; pair += 4) {
    __builtin_prefetch(ahead);
    __builtin_prefetch(ahead + 32);
    ahead += 64;
    Unroll<4>([&](auto u) INGOT_UNROLLED {
      asm volatile("" ::: "memory");  // keeps g++ from loading the next weights early: it spills
      DotSums weights[kVectors];
      Unroll<kVectors>([&](auto v) INGOT_UNROLLED {
        weights[v] = hn::Load(
            di, reinterpret_cast<const int32_t*>(w + 2 * (u * kTileFeatures + v * kLanes)));
      });
      Unroll<kTileRows>([&](auto r) INGOT_UNROLLED {
        int32_t bits;
        std::memcpy(&bits, x + r * kScaleK + 2 * u, sizeof bits);
        const auto x_pair = hn::Set(di, bits);
        Unroll<kVectors>([&](auto v) INGOT_UNROLLED {
          Words::AddProducts(sums[r * kVectors + v], x_pair, weights[v]);
        });
      });
    });
    x += 8;
    w += 8 * kTileFeatures;
  }
  Unroll<kTileRows>([&](auto r) INGOT_UNROLLED {
    const auto x_scale = hn::Set(d, tile.x_scales[r]);
    Unroll<kVectors>([&](auto v) INGOT_UNROLLED {
      float* out = tile.sums + r * kPanelFeatures + v * kLanes;
      const auto product = hn::Mul(hn::ConvertTo(d, sums[r * kVectors + v]),
                                   hn::Load(d, tile.w_scales + v * kLanes));
      const auto sum =
          kFirst ? hn::Mul(product, x_scale) : hn::MulAdd(product, x_scale, hn::Load(d, out));
      hn::Store(sum, d, out);
    });
  });
}

// Fetches the output's lines of a panel in `num_rows` rows of the group.
void PrefetchOutput(const Int16Job& job, size_t begin, size_t num_rows, size_t feature) {
  const float* line = job.call.out + (job.group_begin + begin) * job.call.out_stride + feature;
  for (size_t r = 0; r < num_rows; ++r, line += job.call.out_stride) {
    for (size_t n = 0; n < kPanelFeatures; n += 16) __builtin_prefetch(line + n, 1);
  }
}

// sums of rows [begin, begin + num_rows) of the group with all of K.
void MultiplyChunk(const Int16Job& job, size_t begin, size_t num_rows, size_t feature,
                   const Int16Scratch& scratch) {
  for (size_t block = 0; block < job.layout.num_blocks; ++block) {
    const size_t num_pairs = SizeOfBlock(job, block).count / 2;
    for (size_t n = 0; n < kPanelFeatures; n += kTileFeatures) {
      for (size_t row = 0; row < num_rows; row += kTileRows) {
        const Int16Tile tile = {.x = job.SlabRow(block, begin + row),
                                .x_scales = job.SlabScale(block, begin + row),
                                .w = scratch.panel + (block * kPanelFeatures + n) * kScaleK,
                                .w_scales = scratch.panel_scales + block * kPanelFeatures + n,
                                .num_pairs = num_pairs,
                                .sums = scratch.sums + row * kPanelFeatures + n};
        if (block == 0) {
          MultiplyTile<true>(tile);
        } else {
          MultiplyTile<false>(tile);
        }
        if (block + 1 == job.layout.num_blocks && n == 0) {
          PrefetchOutput(job, begin + row, std::min(kTileRows, num_rows - row), feature);
        }
      }
    }
  }
}

void RunPanel(const Int16Job& job, size_t panel, size_t thread) {
  const size_t feature = panel * kPanelFeatures;
  const size_t num_features = std::min(kPanelFeatures, job.call.num_features - feature);
  const Int16Scratch scratch = job.Scratch(thread);
  PackPanel(job, feature, scratch);
  for (size_t begin = 0; begin < job.group_rows; begin += kChunkRows) {
    const size_t num_rows = std::min(kChunkRows, job.group_rows - begin);
    MultiplyChunk(job, begin, num_rows, feature, scratch);
    for (size_t row = 0; row < num_rows; ++row) {
      StoreRow(job.call, job.group_begin + begin + row, feature, num_features,
               scratch.sums + row * kPanelFeatures);
    }
  }
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace ingot::cpu
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace ingot::cpu {

HWY_EXPORT(QuantizeRows);
HWY_EXPORT(RunPanel);

int64_t LinearInt16WorkspaceBytes(size_t num_rows, size_t num_k, size_t num_threads) {
  return static_cast<int64_t>(Int16Workspace(num_rows, num_k).total_bytes(num_threads));
}

void RunLinearInt16(const LinearCall& call, std::span<std::byte> workspace, ThreadPool& pool,
                    std::stop_token stop) {
  Int16Job job{.call = call,
               .layout = Int16Workspace(call.num_rows, call.num_k),
               .workspace = workspace.data(),
               .stop = &stop};
  INGOT_CHECK(workspace.size() >= job.layout.total_bytes(pool.num_threads()));
  for (size_t begin = 0; begin < call.num_rows; begin += job.layout.group_rows) {
    job.group_begin = begin;
    job.group_rows = std::min(job.layout.group_rows, call.num_rows - begin);
    // One captured reference: more would make std::function allocate (promise P3).
    pool.ParallelFor(hwy::DivCeil(hwy::RoundUpTo(job.group_rows, kTileRows), kQuantizeRows),
                     [&job](size_t item, size_t) {
                       if (job.stop->stop_requested()) return;
                       HWY_DYNAMIC_DISPATCH(QuantizeRows)(job, item);
                     });
    pool.ParallelFor(hwy::DivCeil(call.num_features, kPanelFeatures),
                     [&job](size_t panel, size_t thread) {
                       if (job.stop->stop_requested()) return;
                       HWY_DYNAMIC_DISPATCH(RunPanel)(job, panel, thread);
                     });
  }
}

}  // namespace ingot::cpu
#endif  // HWY_ONCE
