#include "devices/cpu/linear_int16.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <utility>

#include "devices/cpu/dequantize.h"
#include "tensor/codec.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "devices/cpu/linear_int16.cc"
#include <hwy/foreach_target.h>  // IWYU pragma: keep

#include "devices/cpu/linear_rows-inl.h"
#include "devices/cpu/linear_store-inl.h"
#include "devices/cpu/simd-inl.h"

#ifndef INGOT_DEVICES_CPU_LINEAR_INT16_ONCE_
#define INGOT_DEVICES_CPU_LINEAR_INT16_ONCE_
namespace ingot::cpu {

inline constexpr size_t kScaleK = 256;        // K that share a scale
inline constexpr size_t kPanelFeatures = 64;  // features of one item of work
// Rows whose partial sums stay in L2 (96 KiB) while the blocks of K pass.
inline constexpr size_t kChunkRows = 384;
inline constexpr size_t kRowPadding = 12;  // a multiple of the tile's rows on every level
inline constexpr size_t kQuantizeRows = 16;
inline constexpr size_t kPackFeatures = 16;  // features packed together
inline constexpr size_t kGroupBytes = size_t{26} << 20;

// Largest |q| of x, and largest sum|q| of a block of a feature.
inline constexpr float kMaxX = 4095.0f;
inline constexpr int32_t kMaxWeightSum = std::numeric_limits<int32_t>::max() / 4095;
// What the scale aims at: rounding adds 1/2 to each |q|, the f32 sum that the scale is made from is
// within 2^-18 of itself (2 here).
inline constexpr float kWeightSum = static_cast<float>(kMaxWeightSum - kScaleK / 2 - 32);
// Bounds of max|v|: the lower keeps 1 / s finite, the upper sums of weights.
inline constexpr float kLeastMax = 0x1p-100f;
inline constexpr float kGreatestWeight = 0x1p100f;

struct Int16Scratch {
  int16_t* panel;       // [K blocks][feature tiles][128 pairs of K][features of a tile][2]
  float* panel_scales;  // [K blocks][kPanelFeatures]
  float* sums;          // [kChunkRows][kPanelFeatures]
};

// Where the workspace keeps what; bytes, all multiples of kTensorAlignment.
struct Int16Workspace {
  Int16Workspace(size_t num_rows, size_t num_k)
      : num_blocks(hwy::DivCeil(num_k, kScaleK)),
        group_rows(
            std::min(hwy::RoundUpTo(num_rows, kRowPadding),
                     std::max<size_t>(kGroupBytes / (num_blocks * kScaleK * 2) / kRowPadding, 1) *
                         kRowPadding)),
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

// A tile's sums fill the 32 registers of AVX-512 or the 16 of AVX2, but for the weights (kVectors),
// one pair of x and one product.
constexpr size_t kTileRows = kLanes == 16 ? 6 : 4;
constexpr size_t kVectors = kLanes == 16 ? 4 : 2;
constexpr size_t kTileFeatures = kVectors * kLanes;
static_assert(kPanelFeatures % kTileFeatures == 0 && kRowPadding % kTileRows == 0 &&
              kChunkRows % kTileRows == 0);

// body(0), ..., body(count - 1), each index a constant: g++ keeps an array of vectors in registers
// only when no index into it is a variable.
template <typename Body, size_t... kIndices>
HWY_INLINE void UnrollIndices(const Body& body, std::index_sequence<kIndices...>) {
  (body(std::integral_constant<size_t, kIndices>()), ...);
}
template <size_t kCount, typename Body>
HWY_INLINE void Unroll(const Body& body) {
  UnrollIndices(body, std::make_index_sequence<kCount>());
}
#define INGOT_UNROLLED HWY_ATTR __attribute__((always_inline))

// ---- Quantizing

// max|v| of `count` values, a multiple of 32, by their bits: NaN and infinity are the largest.
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

// sum|v| in 16 lanes and one tree: the same bits on every level.
float SumAbs(const float* values, size_t count) {
  const hn::CappedTag<float, 8> d;
  const hn::Half<decltype(d)> half;
  auto sum0 = hn::Zero(d), sum1 = hn::Zero(d);
  for (size_t i = 0; i < count; i += 16) {
    sum0 = hn::Add(sum0, hn::Abs(hn::LoadU(d, values + i)));
    sum1 = hn::Add(sum1, hn::Abs(hn::LoadU(d, values + i + 8)));
  }
  const auto sum = hn::Add(sum0, sum1);
  alignas(16) float lanes[4];
  hn::Store(hn::Add(hn::LowerHalf(half, sum), hn::UpperHalf(half, sum)), half, lanes);
  return (lanes[0] + lanes[2]) + (lanes[1] + lanes[3]);
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

// The scale of a block that holds a NaN or an infinity; its integers do not matter then.
float QuantizeNothing(int16_t* out) {
  std::fill_n(out, kScaleK, int16_t{0});
  return std::numeric_limits<float>::quiet_NaN();
}

// `count` values of x, a multiple of 32, to integers; their scale.
float QuantizeX(const float* values, size_t count, int16_t* out) {
  const float max = std::max(MaxAbs(values, count), kLeastMax);
  if (!std::isfinite(max)) return QuantizeNothing(out);
  RoundToInt16(values, count, kMaxX / max, out);
  return max / kMaxX;
}

float QuantizeWeights(const float* values, size_t count, int16_t* out) {
  const float max = std::max(MaxAbs(values, count), kLeastMax);
  if (!(max < kGreatestWeight)) return QuantizeNothing(out);
  const float limit = std::min(32767.0f, kWeightSum * (max / SumAbs(values, count)));
  RoundToInt16(values, count, limit / max, out);
  return max / limit;
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
  alignas(64) float buffer[kScaleK];
  const RowNorm norm = NormOfRow(job.call, job.group_begin + row);
  for (size_t block = 0; block < job.layout.num_blocks; ++block) {
    const auto [num_k, count] = SizeOfBlock(job, block);
    const float* values =
        MakeRow(job.call, job.group_begin + row, norm, block * kScaleK, num_k, buffer);
    if (count != num_k) {
      if (values != buffer) std::copy_n(values, num_k, buffer);
      std::fill(buffer + num_k, buffer + count, 0.0f);
      values = buffer;
    }
    *job.SlabScale(block, row) = QuantizeX(values, count, job.SlabRow(block, row));
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

// `count` numbers of a plain type to f32, a multiple of 32. Factors that belong to the type are
// left to the caller.
template <typename Widen>
HWY_INLINE void WidenAll(size_t count, float* out, const Widen& widen) {
  const DF d;
  for (size_t i = 0; i < count; i += kLanes) hn::Store(widen(i), d, out + i);
}

// Weights [k, k + num_k) of a feature without weight.scale, zeros up to `count`, a multiple of 32.
void LoadWeights(const ConstTensorView& weight, size_t feature, size_t k, size_t num_k,
                 size_t count, float* out) {
  const DF d;
  const hn::Rebind<uint16_t, DF> du16;
  const hn::Rebind<hwy::float16_t, DF> df16;
  const hn::Rebind<uint8_t, DF> du8;
  const DTypeInfo& info = Info(weight.dtype);
  const size_t index = feature * static_cast<size_t>(weight.shape[1]) + k;
  const std::byte* in = weight.data + index / static_cast<size_t>(info.block_elements) *
                                          static_cast<size_t>(info.block_bytes);
  if (IsBlockFormat(weight.dtype)) {
    DequantizeRow(weight.dtype, in, out, static_cast<int64_t>(num_k));
    std::fill(out + num_k, out + count, 0.0f);
    return;
  }
  alignas(64) std::byte tail[kScaleK * sizeof(float)];
  if (count != num_k) {
    const size_t num_bytes = num_k * static_cast<size_t>(info.block_bytes);
    std::memcpy(tail, in, num_bytes);
    std::memset(tail + num_bytes, 0, sizeof tail - num_bytes);
    in = tail;
  }
  const auto* bytes = reinterpret_cast<const uint8_t*>(in);
  const auto* halves = reinterpret_cast<const uint16_t*>(in);
  switch (weight.dtype) {
    case DType::kF32:
      return WidenAll(count, out, [&](size_t i) HWY_ATTR {
        return hn::LoadU(d, reinterpret_cast<const float*>(in) + i);
      });
    case DType::kF16:
      return WidenAll(count, out, [&](size_t i) HWY_ATTR {
        return hn::PromoteTo(d, hn::BitCast(df16, hn::LoadU(du16, halves + i)));
      });
    case DType::kBF16:
      return WidenAll(count, out, [&](size_t i) HWY_ATTR {
        const hn::RebindToUnsigned<DF> du32;
        return hn::BitCast(d, hn::ShiftLeft<16>(hn::PromoteTo(du32, hn::LoadU(du16, halves + i))));
      });
    case DType::kF8E5M2:  // the upper byte of an f16
      return WidenAll(count, out, [&](size_t i) HWY_ATTR {
        const auto half = hn::ShiftLeft<8>(hn::PromoteTo(du16, hn::LoadU(du8, bytes + i)));
        return hn::PromoteTo(d, hn::BitCast(df16, half));
      });
    case DType::kF8E4M3:  // an f16 of exponents 8 lower, but for NaN, which would be 480
      return WidenAll(count, out, [&](size_t i) HWY_ATTR {
        const auto byte = hn::PromoteTo(du16, hn::LoadU(du8, bytes + i));
        const auto half = hn::Or(hn::ShiftLeft<7>(hn::And(byte, hn::Set(du16, 0x7F))),
                                 hn::ShiftLeft<8>(hn::And(byte, hn::Set(du16, 0x80))));
        const auto value = hn::Mul(hn::PromoteTo(d, hn::BitCast(df16, half)), hn::Set(d, 256.0f));
        return hn::IfThenElse(hn::Eq(hn::Abs(value), hn::Set(d, 480.0f)), hn::NaN(d), value);
      });
    default:
      INGOT_CHECK(false);  // not a type of weights
  }
}

// quads[i] = in 128-bit block b, pair 4b + i of four features whose pairs lie kScaleK / 2 apart.
HWY_INLINE void TransposeQuads(const uint32_t* rows, hn::Vec<DU32> (&quads)[4]) {
  const DU32 d;
  const hn::Repartition<uint64_t, DU32> d64;
  const auto row0 = hn::Load(d, rows), row1 = hn::Load(d, rows + kScaleK / 2);
  const auto row2 = hn::Load(d, rows + kScaleK), row3 = hn::Load(d, rows + 3 * kScaleK / 2);
  const auto low01 = hn::BitCast(d64, hn::InterleaveLower(d, row0, row1));
  const auto low23 = hn::BitCast(d64, hn::InterleaveLower(d, row2, row3));
  const auto high01 = hn::BitCast(d64, hn::InterleaveUpper(d, row0, row1));
  const auto high23 = hn::BitCast(d64, hn::InterleaveUpper(d, row2, row3));
  quads[0] = hn::BitCast(d, hn::InterleaveLower(d64, low01, low23));
  quads[1] = hn::BitCast(d, hn::InterleaveUpper(d64, low01, low23));
  quads[2] = hn::BitCast(d, hn::InterleaveLower(d64, high01, high23));
  quads[3] = hn::BitCast(d, hn::InterleaveUpper(d64, high01, high23));
}

// Pair 4b + i of 16 features, q0 .. q3 being their quads[i], to to[4b * kTileFeatures ...].
HWY_INLINE void StoreQuads(hn::Vec<DU32> q0, hn::Vec<DU32> q1, hn::Vec<DU32> q2, hn::Vec<DU32> q3,
                           uint32_t* to) {
  const DU32 d;
  constexpr size_t kFour = 4 * kTileFeatures;
#if HWY_MAX_BYTES == 64
  const auto even01 = hn::OddEvenBlocks(hn::SwapAdjacentBlocks(q1), q0);
  const auto odd01 = hn::OddEvenBlocks(q1, hn::SwapAdjacentBlocks(q0));
  const auto even23 = hn::OddEvenBlocks(hn::SwapAdjacentBlocks(q3), q2);
  const auto odd23 = hn::OddEvenBlocks(q3, hn::SwapAdjacentBlocks(q2));
  hn::Store(hn::ConcatLowerLower(d, even23, even01), d, to);
  hn::Store(hn::ConcatLowerLower(d, odd23, odd01), d, to + kFour);
  hn::Store(hn::ConcatUpperUpper(d, even23, even01), d, to + 2 * kFour);
  hn::Store(hn::ConcatUpperUpper(d, odd23, odd01), d, to + 3 * kFour);
#else
  hn::Store(hn::ConcatLowerLower(d, q1, q0), d, to);
  hn::Store(hn::ConcatLowerLower(d, q3, q2), d, to + kLanes);
  hn::Store(hn::ConcatUpperUpper(d, q1, q0), d, to + kFour);
  hn::Store(hn::ConcatUpperUpper(d, q3, q2), d, to + kFour + kLanes);
#endif
}

// Pairs of K of kPackFeatures features, lying kScaleK values apart, to [pair][features], pairs
// kTileFeatures apart.
void TransposePairs(const int16_t* rows, size_t num_pairs, int16_t* columns) {
  const auto* from = reinterpret_cast<const uint32_t*>(rows);
  auto* to = reinterpret_cast<uint32_t*>(columns);
  for (size_t pair = 0; pair < num_pairs; pair += kLanes) {
    hn::Vec<DU32> q0[4], q1[4], q2[4], q3[4];
    TransposeQuads(from + pair, q0);
    TransposeQuads(from + pair + 4 * kScaleK / 2, q1);
    TransposeQuads(from + pair + 8 * kScaleK / 2, q2);
    TransposeQuads(from + pair + 12 * kScaleK / 2, q3);
    Unroll<4>([&](auto i) INGOT_UNROLLED {
      StoreQuads(q0[i], q1[i], q2[i], q3[i], to + (pair + i) * kTileFeatures);
    });
  }
}

// The panel's features, quantized and transposed; zeros behind the last feature.
void PackPanel(const Int16Job& job, size_t panel_begin, const Int16Scratch& scratch) {
  alignas(64) float values[kScaleK];
  alignas(64) int16_t rows[kPackFeatures * kScaleK];
  for (size_t n = 0; n < kPanelFeatures; n += kPackFeatures) {
    for (size_t block = 0; block < job.layout.num_blocks; ++block) {
      const auto [num_k, count] = SizeOfBlock(job, block);
      for (size_t r = 0; r < kPackFeatures; ++r) {
        const size_t feature = panel_begin + n + r;
        float& scale = scratch.panel_scales[block * kPanelFeatures + n + r];
        if (feature >= job.call.num_features) {
          std::fill_n(rows + r * kScaleK, count, int16_t{0});
          scale = 0.0f;
          continue;
        }
        LoadWeights(job.call.weight, feature, block * kScaleK, num_k, count, values);
        scale = QuantizeWeights(values, count, rows + r * kScaleK) * job.call.weight.scale;
      }
      const size_t tile = n / kTileFeatures;
      TransposePairs(rows, count / 2,
                     scratch.panel + (block * kPanelFeatures + tile * kTileFeatures) * kScaleK +
                         n % kTileFeatures * 2);
    }
  }
}

// ---- Products

HWY_INLINE void AddProducts(hn::Vec<DI32>& sum, hn::Vec<DI16> x, hn::Vec<DI16> w) {
#if HWY_TARGET == HWY_AVX3_DL
  // By the intrinsic g++ 12 copies and spills sums.
  asm("vpdpwssd %2, %1, %0" : "+v"(sum.raw) : "v"(x.raw), "v"(w.raw));
#else
  auto unused = hn::Zero(DI32());
  sum = hn::ReorderWidenMulAccumulate(DI32(), x, w, sum, unused);
#endif
}

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
  const DI16 di16;
  hn::Vec<DI32> sums[kTileRows * kVectors];
  Unroll<kTileRows * kVectors>([&](auto i) INGOT_UNROLLED { sums[i] = hn::Zero(di); });
  const int16_t* x = tile.x;
  const int16_t* w = tile.w;
  const int16_t* ahead = x + 2 * kTileRows * kScaleK;
  for (size_t pair = 0; pair < tile.num_pairs; pair += 2) {
    __builtin_prefetch(ahead);
    ahead += 32;
    Unroll<2>([&](auto u) INGOT_UNROLLED {
      asm volatile("" ::: "memory");  // keeps g++ from loading the next weights early: it spills
      hn::Vec<DI16> weights[kVectors];
      Unroll<kVectors>([&](auto v) INGOT_UNROLLED {
        weights[v] = hn::Load(di16, w + 2 * (u * kTileFeatures + v * kLanes));
      });
      Unroll<kTileRows>([&](auto r) INGOT_UNROLLED {
        int32_t bits;
        std::memcpy(&bits, x + r * kScaleK + 2 * u, sizeof bits);
        const auto x_pair = hn::BitCast(di16, hn::Set(di, bits));
        Unroll<kVectors>([&](auto v) INGOT_UNROLLED {
          AddProducts(sums[r * kVectors + v], x_pair, weights[v]);
        });
      });
    });
    x += 4;
    w += 4 * kTileFeatures;
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

// sums of rows [begin, begin + num_rows) of the group with all of K.
void MultiplyChunk(const Int16Job& job, size_t begin, size_t num_rows,
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
    MultiplyChunk(job, begin, num_rows, scratch);
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
    pool.ParallelFor(hwy::DivCeil(hwy::RoundUpTo(job.group_rows, kRowPadding), kQuantizeRows),
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
