#include "devices/cpu/attention_int.h"

#include <algorithm>
#include <bit>
#include <limits>
#include <utility>

// Compiles the code below once per SIMD target.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "devices/cpu/attention_int.cc"
#include <hwy/foreach_target.h>  // IWYU pragma: keep

#include "devices/cpu/dot_products-inl.h"
#include "devices/cpu/simd-inl.h"
#include "devices/cpu/transpose-inl.h"

#ifndef INGOT_DEVICES_CPU_ATTENTION_INT_ONCE_
#define INGOT_DEVICES_CPU_ATTENTION_INT_ONCE_
namespace ingot::cpu {
namespace {

constexpr size_t kKeyGroup = 64;      // keys of a tile of scores
constexpr size_t kChannelGroup = 64;  // channels of a tile of outputs
constexpr size_t kLine = 16;          // f32 or dwords of a cache line

// Below this a row counts as zeros: the inverse of its scale must be finite.
constexpr float kLeastAmax = 1e-30f;
constexpr float kLog2E = 1.44269504088896341f;
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
constexpr float kInfinity = std::numeric_limits<float>::infinity();

constexpr size_t RoundUp(size_t n, size_t to) { return (n + to - 1) / to * to; }

// The largest integers of the operands; P is kept as P - p_center.
struct Levels {
  int qk, p, p_center, v;
};
constexpr Levels LevelsOf(op::Compute compute, size_t head_dim) {
  if (compute == op::Compute::kI8) return {127, 255, 0, 127};
  return {head_dim <= 128 ? 4095 : 2047, 8191, 4096, 2047};
}

// 2^x for |x| <= 1/2, from the highest power; the error is relative.
template <size_t kDegree>
constexpr float kExp2Terms[kDegree + 1] = {};
template <>
constexpr float kExp2Terms<2>[] = {0.2402265f, 0.7018f, 0.99991f};  // 2e-3
template <>
constexpr float kExp2Terms<3>[] = {5.5826318e-2f, 2.4015361e-1f, 6.9314718e-1f,
                                   0.9999253f};  // 1e-4
template <>
constexpr float kExp2Terms<5>[] = {1.33336498e-3f, 9.61793923e-3f, 5.55040873e-2f,
                                   2.40226495e-1f, 6.93147182e-1f, 1.0f};  // 3e-7

// A scale and its inverse for values up to amax; amax as the bits of a float.
struct Scale {
  float scale, inverse;
};
Scale ScaleFor(int32_t amax_bits, int largest) {
  const float level = static_cast<float>(largest);
  const float amax = std::bit_cast<float>(amax_bits);
  if (!(amax < kInfinity)) return {kNan, 0.0f};
  if (amax < kLeastAmax) return {1.0f, 0.0f};
  return {amax / level, level / amax};
}

// Where the parts of a packed head are. The unit of keys and values is a dword:
// two int16 or four int8 that one instruction multiplies and adds up.
struct HeadLayout {
  HeadLayout(const PackedHead& head, size_t dword_elements)
      : dim(RoundUp(head.head_dim, kLine)),
        num_keys(RoundUp(head.num_keys, kKeyGroup)),
        num_blocks((head.num_keys + kKeyBlock - 1) / kKeyBlock),
        dword_elements(dword_elements),
        keys(reinterpret_cast<int32_t*>(head.data)),
        values(keys + num_keys * dim / 2),
        key_scales(reinterpret_cast<float*>(values + num_keys * dim / 2)),
        key_shifts(key_scales + num_keys),
        key_starts(reinterpret_cast<int32_t*>(key_shifts + num_keys)),
        value_scales(reinterpret_cast<float*>(key_starts + num_keys)),
        value_shifts(value_scales + num_blocks * dim),
        taints(value_shifts + num_blocks * dim) {}

  // Keys of a block with its padding, [group of 64][depth in dwords][64].
  int32_t* BlockKeys(size_t block) const { return keys + block * kKeyBlock * dim / dword_elements; }
  // [group of 64 channels][keys in dwords][channels of the group].
  int32_t* BlockValues(size_t block) const {
    return values + block * kKeyBlock * dim / dword_elements;
  }
  size_t BlockSize(size_t block) const { return std::min(kKeyBlock, num_keys - block * kKeyBlock); }

  size_t dim, num_keys, num_blocks, dword_elements;
  int32_t* keys;
  int32_t* values;
  float* key_scales;    // score = product * scale + shift
  float* key_shifts;    // 0; -infinity for padding
  int32_t* key_starts;  // what the sums of products with bytes of q + 128 start from
  float* value_scales;  // [num_blocks, dim]: output = product * scale + shift
  float* value_shifts;  // what P - p_center lacks: p_center * (sum of the integers) * scale
  float* taints;        // [num_blocks]: NaN if a key of the block is not finite, else 0
};

// Working memory of one thread.
struct Scratch {
  Scratch(std::byte* data, size_t head_dim)
      : scores(reinterpret_cast<float*>(data)),
        weights(reinterpret_cast<int32_t*>(scores + kQueryBlock * kKeyBlock)),
        sums(reinterpret_cast<float*>(weights + kQueryBlock * kKeyBlock / 2)),
        queries(reinterpret_cast<int32_t*>(sums + kQueryBlock * RoundUp(head_dim, kLine))),
        lane_maxima(reinterpret_cast<float*>(queries + kQueryBlock * RoundUp(head_dim, kLine) / 2)),
        rows(lane_maxima + kQueryBlock * kLine) {}

  static constexpr size_t kRowArrays = 7;
  float* query_scales() const { return rows; }
  float* block_max() const { return rows + kQueryBlock; }
  float* running_max() const { return rows + 2 * kQueryBlock; }
  float* running_sum() const { return rows + 3 * kQueryBlock; }
  float* old_factor() const { return rows + 4 * kQueryBlock; }
  float* new_factor() const { return rows + 5 * kQueryBlock; }
  float* block_sum() const { return rows + 6 * kQueryBlock; }

  float* scores;     // [group of 64 keys][kQueryBlock][64]
  int32_t* weights;  // P, [kQueryBlock][kKeyBlock in dwords]
  float* sums;       // P v, [kQueryBlock][dim]
  int32_t* queries;  // [tile][depth in dwords][rows of a tile]
  float* lane_maxima;
  float* rows;
};

}  // namespace
}  // namespace ingot::cpu
#endif  // INGOT_DEVICES_CPU_ATTENTION_INT_ONCE_

HWY_BEFORE_NAMESPACE();
namespace ingot::cpu {
namespace HWY_NAMESPACE {
namespace {

constexpr hn::ScalableTag<float> kF;
constexpr hn::ScalableTag<int32_t> kI;
using VF = hn::Vec<decltype(kF)>;
using VI = hn::Vec<decltype(kI)>;
constexpr size_t kLanes = hn::MaxLanes(kF);

// Accumulators of a tile: 24 of 32 registers, or 8 of 16.
constexpr size_t kTileRows = kLanes == 16 ? 6 : 4;
constexpr size_t kTileVectors = kLanes == 16 ? 4 : 2;
static_assert(kQueryBlock % kTileRows == 0 && kQueryBlock % kLanes == 0);

// To nearest, ties to even; below 2^31.
HWY_INLINE VI ToInt(VF x) {
#if HWY_TARGET <= HWY_AVX3
  return VI{_mm512_cvtps_epi32(x.raw)};
#else
  return VI{_mm256_cvtps_epi32(x.raw)};
#endif
}

// kPeak * 2^x for x <= 0, to the error of the terms; below 2^-125 * kPeak it stays there.
template <size_t kDegree, int kPeak>
HWY_INLINE VF Exp2(VF x) {
  const VF magic = hn::Set(kF, 0x1.8p23f);  // leaves the nearest integer in the low bits
  x = hn::Max(x, hn::Set(kF, -126.0f));
  const VF rounded = hn::Add(x, magic);
  const VF fraction = hn::Sub(x, hn::Sub(rounded, magic));
  VF p = hn::Set(kF, kPeak * kExp2Terms<kDegree>[0]);
  Unroll<kDegree>([&](auto i) INGOT_UNROLLED {
    p = hn::MulAdd(p, fraction, hn::Set(kF, kPeak * kExp2Terms<kDegree>[i + 1]));
  });
  const VI exponent = hn::ShiftLeft<23>(hn::BitCast(kI, rounded));
  return hn::BitCast(kF, hn::Add(hn::BitCast(kI, p), exponent));
}

// --- Packing ---

// Bits of |x|: they order like the numbers, with NaN above infinity.
HWY_INLINE VI MagnitudeBits(VF x) { return hn::And(hn::BitCast(kI, x), hn::Set(kI, 0x7FFFFFFF)); }

// Lanes [i, i + kLanes) of a row of n elements, zeros behind its end.
HWY_INLINE VF LoadRow(const float* row, size_t i, size_t n) {
  if (i + kLanes <= n) return hn::LoadU(kF, row + i);
  return i < n ? LoadFirst(kF, row + i, n - i) : hn::Zero(kF);
}

// Rows of a head lie pages apart, where the hardware does not look ahead: without this
// packing waits on memory (10 % of attention over 1280 tokens on Zen 5).
constexpr size_t kRowsAhead = 12;
HWY_INLINE void PrefetchRow(const HeadRows& rows, size_t row, size_t n) {
  if (row >= rows.count) return;
  for (size_t i = 0; i < n; i += kLine) __builtin_prefetch(rows.data + row * rows.stride + i);
}

int32_t LargestMagnitudeBits(const float* row, size_t n) {
  VI largest = hn::Zero(kI);
  for (size_t i = 0; i < n; i += kLanes) {
    largest = hn::Max(largest, MagnitudeBits(LoadRow(row, i, n)));
  }
  return hn::GetLane(hn::MaxOfLanes(kI, largest));
}

// Writes round(row * inverse) + offset for `padded` elements and returns the sum.
template <class T>
int32_t Quantize(const float* row, size_t n, size_t padded, float inverse, int32_t offset, T* out) {
  const hn::Rebind<T, decltype(kF)> narrow;
  VI sum = hn::Zero(kI);
  for (size_t i = 0; i < padded; i += kLanes) {
    const VI x = ToInt(hn::Mul(LoadRow(row, i, n), hn::Set(kF, inverse)));
    sum = hn::Add(sum, x);
    hn::StoreU(hn::DemoteTo(narrow, hn::Add(x, hn::Set(kI, offset))), narrow, out + i);
  }
  return hn::GetLane(hn::SumOfLanes(kI, sum));
}

template <class Kept>
void PackKeys(const HeadLayout& to, const HeadRows& keys, size_t head_dim, int largest,
              size_t block, std::byte* scratch) {
  using Key = typename Kept::Right;
  constexpr size_t kRows = 16;
  const size_t depth = to.dim / Kept::kPerDword;
  int32_t* rows = reinterpret_cast<int32_t*>(scratch);  // [kRows][depth]
  const size_t begin = block * kKeyBlock, size = to.BlockSize(block);
  float taint = 0.0f;
  for (size_t first = 0; first < size; first += kRows) {
    for (size_t i = 0; i < kRows; ++i) {
      const size_t key = begin + first + i;
      to.key_starts[key] = 0;
      if (key >= keys.count) {
        std::fill_n(rows + i * depth, depth, 0);
        to.key_scales[key] = 0.0f;
        to.key_shifts[key] = -kInfinity;
        continue;
      }
      PrefetchRow(keys, key + kRowsAhead, head_dim);
      const float* row = keys.data + key * keys.stride;
      const Scale scale = ScaleFor(LargestMagnitudeBits(row, head_dim), largest);
      const int32_t sum = Quantize(row, head_dim, to.dim, scale.inverse, 0,
                                   reinterpret_cast<Key*>(rows + i * depth));
      // In 64 bits: of a key that is not finite the sum is anything.
      if (Kept::kPerDword == 4) to.key_starts[key] = static_cast<int32_t>(-128 * int64_t{sum});
      to.key_scales[key] = scale.scale;
      to.key_shifts[key] = 0.0f;
      if (scale.scale != scale.scale) taint = kNan;
    }
    int32_t* group = to.BlockKeys(block) + first / kKeyGroup * kKeyGroup * depth;
    Transpose(rows, depth, kRows, depth, group + first % kKeyGroup, kKeyGroup);
  }
  to.taints[block] = taint;
}

// A dword holds the keys i, 16 + i (, 32 + i, 48 + i) of its 32 (64): vectors of P
// then combine by shifts at every vector length.
template <class Kept>
HWY_INLINE VI Combine(const VI (&x)[Kept::kPerDword]) {
  constexpr int kBits = 32 / Kept::kPerDword;
  VI dwords = x[0];
  Unroll<Kept::kPerDword - 1>([&](auto i) INGOT_UNROLLED {
    constexpr int kShift = kBits * (i + 1);
    dwords = hn::Or(dwords, hn::ShiftLeft<kShift>(x[i + 1]));
  });
  return dwords;
}

template <class Kept>
void PackValues(const HeadLayout& to, const HeadRows& values, size_t head_dim, const Levels& levels,
                size_t block, std::byte* scratch) {
  constexpr size_t kGroup = kLine * Kept::kPerDword;
  const size_t begin = block * kKeyBlock, size = to.BlockSize(block);
  const size_t count = std::min(size, values.count - begin);
  const float* data = values.data + begin * values.stride;
  int32_t* amax = reinterpret_cast<int32_t*>(scratch);
  float* inverses = reinterpret_cast<float*>(amax) + to.dim;
  int32_t* sums = reinterpret_cast<int32_t*>(inverses) + to.dim;
  std::fill_n(amax, to.dim, 0);
  std::fill_n(sums, to.dim, 0);
  for (size_t key = 0; key < count; ++key) {
    PrefetchRow(values, begin + key + kRowsAhead, head_dim);
    for (size_t c = 0; c < to.dim; c += kLanes) {
      const VI bits = MagnitudeBits(LoadRow(data + key * values.stride, c, head_dim));
      hn::Store(hn::Max(hn::Load(kI, amax + c), bits), kI, amax + c);
    }
  }
  for (size_t c = 0; c < to.dim; ++c) {
    const Scale scale = ScaleFor(amax[c], levels.v);
    to.value_scales[block * to.dim + c] = scale.scale;
    inverses[c] = scale.inverse;
  }
  const VI mask = hn::Set(kI, Kept::kPerDword == 4 ? 0xFF : 0xFFFF);
  for (size_t dword = 0; dword < size / Kept::kPerDword; ++dword) {
    const size_t key = dword / kLine * kGroup + dword % kLine;
    for (size_t c = 0; c < to.dim; c += kLanes) {
      VI x[Kept::kPerDword];
      VI sum = hn::Load(kI, sums + c);
      Unroll<Kept::kPerDword>([&](auto i) INGOT_UNROLLED {
        const size_t row = key + i * kLine;
        const VF v = row < count ? LoadRow(data + row * values.stride, c, head_dim) : hn::Zero(kF);
        x[i] = ToInt(hn::Mul(v, hn::Load(kF, inverses + c)));
        sum = hn::Add(sum, x[i]);
        x[i] = hn::And(x[i], mask);
      });
      hn::Store(sum, kI, sums + c);
      const size_t first = c / kChannelGroup * kChannelGroup;  // of the channels' group
      int32_t* group = to.BlockValues(block) + first * size / Kept::kPerDword;
      hn::Store(Combine<Kept>(x), kI,
                group + dword * std::min(kChannelGroup, to.dim - first) + c - first);
    }
  }
  for (size_t c = 0; c < to.dim; ++c) {
    to.value_shifts[block * to.dim + c] = static_cast<float>(levels.p_center) *
                                          static_cast<float>(sums[c]) *
                                          to.value_scales[block * to.dim + c];
  }
}

template <class Kept>
void PackQueries(const IntQueries& block, size_t head_dim, size_t dim, int largest,
                 const Scratch& scratch) {
  using Query = typename Kept::Left;
  constexpr int32_t kOffset = Kept::kPerDword == 4 ? 128 : 0;
  const size_t depth = dim / Kept::kPerDword;
  alignas(64) int32_t row[kMaxIntHeadDim / 2];
  for (size_t i = 0; i < kRowsAhead; ++i) PrefetchRow(block.queries, i, head_dim);
  for (size_t i = 0; i < kQueryBlock; ++i) {
    scratch.query_scales()[i] = 1.0f;
    if (i < block.queries.count) {
      PrefetchRow(block.queries, i + kRowsAhead, head_dim);
      const float* x = block.queries.data + i * block.queries.stride;
      const Scale scale = ScaleFor(LargestMagnitudeBits(x, head_dim), largest);
      Quantize(x, head_dim, dim, scale.inverse, kOffset, reinterpret_cast<Query*>(row));
      scratch.query_scales()[i] = scale.scale * (block.scale * kLog2E);
    } else {
      std::fill_n(row, depth, 0);  // no output is stored
    }
    int32_t* to = scratch.queries + i / kTileRows * kTileRows * depth + i % kTileRows;
    for (size_t d = 0; d < depth; ++d) to[d * kTileRows] = row[d];
  }
}

// --- Tiles ---

// sums[r, c] += over i < n of a[i * kStep + r * kRowStep] * b[i, c], products of dwords;
// b in rows of `b_stride` dwords. n is even.
template <class Kept, size_t kVectors, size_t kStep, size_t kRowStep>
HWY_INLINE void MultiplyTile(const int32_t* a, const int32_t* b, size_t b_stride, size_t n,
                             VI (&sums)[kTileRows * kVectors]) {
  for (size_t i = 0; i < n; i += 2) {
    Unroll<2>([&](auto u) INGOT_UNROLLED {
      // Keeps loads where they are: g++ would move them up and spill sums.
      asm volatile("" ::: "memory");
      VI columns[kVectors];
      Unroll<kVectors>(
          [&](auto c) INGOT_UNROLLED { columns[c] = hn::Load(kI, b + u * b_stride + c * kLanes); });
      Unroll<kTileRows>([&](auto r) INGOT_UNROLLED {
        const VI row = hn::Set(kI, a[u * kStep + r * kRowStep]);
        Unroll<kVectors>([&](auto c) INGOT_UNROLLED {
          Kept::AddProducts(sums[r * kVectors + c], row, columns[c]);
        });
      });
    });
    a += 2 * kStep;
    b += 2 * b_stride;
  }
}

// Scores of a tile of queries before their scale, and their lanes' maxima.
struct ScoreTile {
  const int32_t* queries;
  const int32_t* keys;
  size_t depth;
  const int32_t* starts;
  const float* scales;
  const float* shifts;
  float* scores;       // rows of kKeyGroup
  float* lane_maxima;  // rows of kLine
};

template <class Kept>
HWY_NOINLINE void ComputeScores(const ScoreTile& tile) {
  constexpr size_t kCount = kTileRows * kTileVectors;
  VI sums[kCount];
  Unroll<kCount>([&](auto i) INGOT_UNROLLED {
    sums[i] =
        Kept::kPerDword == 4 ? hn::Load(kI, tile.starts + i % kTileVectors * kLanes) : hn::Zero(kI);
  });
  MultiplyTile<Kept, kTileVectors, kTileRows, 1>(tile.queries, tile.keys, kKeyGroup, tile.depth,
                                                 sums);
  Unroll<kTileRows>([&](auto r) INGOT_UNROLLED {
    VF max = hn::Load(kF, tile.lane_maxima + r * kLine);
    Unroll<kTileVectors>([&](auto c) INGOT_UNROLLED {
      const VF score = hn::MulAdd(hn::ConvertTo(kF, sums[r * kTileVectors + c]),
                                  hn::Load(kF, tile.scales + c * kLanes),
                                  hn::Load(kF, tile.shifts + c * kLanes));
      hn::Store(score, kF, tile.scores + r * kKeyGroup + c * kLanes);
      max = hn::Max(max, score);
    });
    hn::Store(max, kF, tile.lane_maxima + r * kLine);
  });
}

// sums = sums * old_factor + output * new_factor, factors by row.
struct OutputTile {
  const int32_t* weights;
  const int32_t* values;
  size_t values_stride;
  size_t depth;
  const float* scales;
  const float* shifts;
  const float* old_factor;
  const float* new_factor;
  float* sums;
  size_t sums_stride;
};

template <class Kept, size_t kVectors>
HWY_NOINLINE void AddOutputs(const OutputTile& tile) {
  VI sums[kTileRows * kVectors];
  Unroll<kTileRows * kVectors>([&](auto i) INGOT_UNROLLED { sums[i] = hn::Zero(kI); });
  MultiplyTile<Kept, kVectors, 1, kKeyBlock / Kept::kPerDword>(
      tile.weights, tile.values, tile.values_stride, tile.depth, sums);
  Unroll<kTileRows>([&](auto r) INGOT_UNROLLED {
    const VF old_factor = hn::Set(kF, tile.old_factor[r]);
    const VF new_factor = hn::Set(kF, tile.new_factor[r]);
    Unroll<kVectors>([&](auto c) INGOT_UNROLLED {
      float* out = tile.sums + r * tile.sums_stride + c * kLanes;
      const VF output = hn::MulAdd(hn::ConvertTo(kF, sums[r * kVectors + c]),
                                   hn::Load(kF, tile.scales + c * kLanes),
                                   hn::Load(kF, tile.shifts + c * kLanes));
      hn::Store(hn::MulAdd(output, new_factor, hn::Mul(hn::Load(kF, out), old_factor)), kF, out);
    });
  });
}

// --- A block of queries against a block of keys ---

template <class Kept>
void ComputeBlockScores(const HeadLayout& head, size_t block, size_t num_rows,
                        const Scratch& scratch) {
  constexpr size_t kColumns = kTileVectors * kLanes;
  const size_t depth = head.dim / Kept::kPerDword;
  for (size_t i = 0; i < num_rows * kLine; i += kLanes) {
    hn::Store(hn::Set(kF, -kInfinity), kF, scratch.lane_maxima + i);
  }
  for (size_t group = 0; group < head.BlockSize(block); group += kKeyGroup) {
    const int32_t* keys = head.BlockKeys(block) + group * depth;
    const size_t key = block * kKeyBlock + group;
    for (size_t row = 0; row < num_rows; row += kTileRows) {
      for (size_t c = 0; c < kKeyGroup; c += kColumns) {
        ComputeScores<Kept>({.queries = scratch.queries + row * depth,
                             .keys = keys + c,
                             .depth = depth,
                             .starts = head.key_starts + key + c,
                             .scales = head.key_scales + key + c,
                             .shifts = head.key_shifts + key + c,
                             .scores = scratch.scores + group * kQueryBlock + row * kKeyGroup + c,
                             .lane_maxima = scratch.lane_maxima + row * kLine});
      }
    }
  }
}

// scores * query_scale + bias, in units of log2.
void AddBias(const IntQueries& queries, const HeadLayout& head, size_t num_keys, size_t block,
             const Scratch& scratch) {
  const size_t begin = block * kKeyBlock;
  for (size_t row = 0; row < queries.queries.count; ++row) {
    const float* bias = queries.bias + row * num_keys;
    const VF scale = hn::Set(kF, scratch.query_scales()[row]);
    VF max = hn::Set(kF, -kInfinity);
    for (size_t j = 0; j < head.BlockSize(block); j += kLanes) {
      float* at =
          scratch.scores + (j & ~(kKeyGroup - 1)) * kQueryBlock + row * kKeyGroup + j % kKeyGroup;
      const VF score = hn::MulAdd(LoadRow(bias, begin + j, num_keys), hn::Set(kF, kLog2E),
                                  hn::Mul(hn::Load(kF, at), scale));
      hn::Store(score, kF, at);
      max = hn::Max(max, score);
    }
    hn::Store(max, kF, scratch.lane_maxima + row * kLine);
  }
}

// The block's maxima, and the factors that join the block with those before it.
void UpdateMaxima(size_t num_rows, const float* scales, const Scratch& scratch) {
  for (size_t row = 0; row < num_rows; ++row) {
    const VF max = hn::MaxOfLanes(kF, hn::Load(kF, scratch.lane_maxima + row * kLine));
    scratch.block_max()[row] = hn::GetLane(max);
  }
  for (size_t row = 0; row < num_rows; row += kLanes) {
    // Rounded up, and finite where all keys are hidden: no score may be above it.
    VF max = hn::Mul(hn::Load(kF, scratch.block_max() + row), hn::Load(kF, scales + row));
    max = hn::Max(hn::MulAdd(hn::Abs(max), hn::Set(kF, 0x1p-22f), max), hn::Set(kF, -1e30f));
    const VF old_max = hn::Load(kF, scratch.running_max() + row);
    const VF new_max = hn::Max(old_max, max);
    hn::Store(max, kF, scratch.block_max() + row);
    hn::Store(new_max, kF, scratch.running_max() + row);
    hn::Store(Exp2<5, 1>(hn::Sub(old_max, new_max)), kF, scratch.old_factor() + row);
    hn::Store(Exp2<5, 1>(hn::Sub(max, new_max)), kF, scratch.new_factor() + row);
  }
}

template <int kCenter>
HWY_INLINE VI Centered(VI pairs) {
  if constexpr (kCenter == 0) return pairs;
  const hn::Repartition<int16_t, decltype(kI)> words;
  return hn::BitCast(kI, hn::Sub(hn::BitCast(words, pairs), hn::Set(words, kCenter)));
}

// P - p_center of a row; returns the sum of P.
template <class Kept, op::Compute kCompute>
HWY_INLINE int32_t ComputeWeights(const float* scores, size_t num_keys, float scale, float max,
                                  int32_t* weights) {
  const VF factor = hn::Set(kF, scale), shift = hn::Set(kF, max);
  constexpr Levels kLevels = LevelsOf(kCompute, 0);
  constexpr size_t kDegree = kCompute == op::Compute::kI8 ? 2 : 3;
  const VI ones = hn::Set(kI, Kept::kPerDword == 4 ? 0x01010101 : 0x00010001);
  VI sum = hn::Zero(kI);
  for (size_t group = 0; group < num_keys; group += kKeyGroup) {
    for (size_t j = 0; j < kKeyGroup; j += kLine * Kept::kPerDword) {
      for (size_t lane = 0; lane < kLine; lane += kLanes) {
        VI x[Kept::kPerDword];
        Unroll<Kept::kPerDword>([&](auto i) INGOT_UNROLLED {
          const VF score = hn::Load(kF, scores + j + i * kLine + lane);
          x[i] = ToInt(Exp2<kDegree, kLevels.p>(hn::MulSub(score, factor, shift)));
        });
        const VI dwords = Combine<Kept>(x);
        Kept::AddProducts(sum, dwords, ones);
        hn::Store(Centered<kLevels.p_center>(dwords), kI, weights + j / Kept::kPerDword + lane);
      }
    }
    scores += kQueryBlock * kKeyGroup;
    weights += kKeyGroup / Kept::kPerDword;
  }
  return hn::GetLane(hn::SumOfLanes(kI, sum));
}

template <class Kept, op::Compute kCompute>
HWY_NOINLINE void ComputeBlockWeights(size_t num_keys, size_t num_rows, const float* scales,
                                      const Scratch& scratch) {
  for (size_t row = 0; row < num_rows; ++row) {
    scratch.block_sum()[row] = static_cast<float>(ComputeWeights<Kept, kCompute>(
        scratch.scores + row * kKeyGroup, num_keys, scales[row], scratch.block_max()[row],
        scratch.weights + row * kKeyBlock / Kept::kPerDword));
  }
  for (size_t row = 0; row < num_rows; row += kLanes) {
    const VF old_sum = hn::Mul(hn::Load(kF, scratch.running_sum() + row),
                               hn::Load(kF, scratch.old_factor() + row));
    hn::Store(hn::MulAdd(hn::Load(kF, scratch.block_sum() + row),
                         hn::Load(kF, scratch.new_factor() + row), old_sum),
              kF, scratch.running_sum() + row);
  }
}

template <class Kept>
void AddBlockOutputs(const HeadLayout& head, size_t block, size_t num_rows,
                     const Scratch& scratch) {
  const size_t depth = head.BlockSize(block) / Kept::kPerDword;
  for (size_t group = 0; group < head.dim; group += kChannelGroup) {
    const size_t width = std::min(kChannelGroup, head.dim - group);
    const int32_t* values = head.BlockValues(block) + group * depth;
    for (size_t row = 0; row < num_rows; row += kTileRows) {
      const auto run = [&]<size_t kVectors>(size_t c) {
        AddOutputs<Kept, kVectors>({.weights = scratch.weights + row * kKeyBlock / Kept::kPerDword,
                                    .values = values + c,
                                    .values_stride = width,
                                    .depth = depth,
                                    .scales = head.value_scales + block * head.dim + group + c,
                                    .shifts = head.value_shifts + block * head.dim + group + c,
                                    .old_factor = scratch.old_factor() + row,
                                    .new_factor = scratch.new_factor() + row,
                                    .sums = scratch.sums + row * head.dim + group + c,
                                    .sums_stride = head.dim});
      };
      for (size_t c = 0; c < width; c += kTileVectors * kLanes) {
        switch ((width - c) / kLanes) {
          case 1:
            run.template operator()<1>(c);
            break;
          case 2:
            run.template operator()<2>(c);
            break;
          case 3:
            run.template operator()<std::min<size_t>(3, kTileVectors)>(c);
            break;
          default:
            run.template operator()<kTileVectors>(c);
        }
      }
    }
  }
}

void StoreOutputs(const IntQueries& block, const HeadLayout& head, size_t head_dim,
                  const Scratch& scratch) {
  float taint = 0.0f;
  for (size_t i = 0; i < head.num_blocks; ++i) taint += head.taints[i];
  for (size_t row = 0; row < block.queries.count; ++row) {
    // NaN where a scale is NaN or a score went to infinity.
    const float finite = 0.0f * (scratch.query_scales()[row] + scratch.running_max()[row]) + taint;
    const VF factor = hn::Set(kF, 1.0f / scratch.running_sum()[row] + finite);
    const float* sums = scratch.sums + row * head.dim;
    float* out = block.out + row * block.out_stride;
    for (size_t c = 0; row + kRowsAhead < block.queries.count && c < head_dim; c += kLine) {
      __builtin_prefetch(out + kRowsAhead * block.out_stride + c, 1);
    }
    size_t c = 0;
    for (; c + kLanes <= head_dim; c += kLanes) {
      hn::StoreU(hn::Mul(hn::Load(kF, sums + c), factor), kF, out + c);
    }
    if (c < head_dim) {
      StoreFirst(hn::Mul(hn::Load(kF, sums + c), factor), kF, out + c, head_dim - c);
    }
  }
}

template <class Kept, op::Compute kCompute>
void Attend(const IntQueries& block, const PackedHead& packed, std::byte* memory) {
  const HeadLayout head(packed, Kept::kPerDword);
  const Scratch scratch(memory, packed.head_dim);
  const size_t num_rows = RoundUp(block.queries.count, kTileRows);
  PackQueries<Kept>(block, packed.head_dim, head.dim, LevelsOf(kCompute, packed.head_dim).qk,
                    scratch);
  std::fill_n(scratch.sums, num_rows * head.dim, 0.0f);
  std::fill_n(scratch.running_max(), kQueryBlock, -1e30f);
  std::fill_n(scratch.running_sum(), kQueryBlock, 0.0f);
  alignas(64) float ones[kQueryBlock];
  std::fill_n(ones, kQueryBlock, 1.0f);
  const float* scales = block.bias == nullptr ? scratch.query_scales() : ones;
  for (size_t i = 0; i < head.num_blocks; ++i) {
    ComputeBlockScores<Kept>(head, i, num_rows, scratch);
    if (block.bias != nullptr) AddBias(block, head, packed.num_keys, i, scratch);
    UpdateMaxima(num_rows, scales, scratch);
    ComputeBlockWeights<Kept, kCompute>(head.BlockSize(i), num_rows, scales, scratch);
    AddBlockOutputs<Kept>(head, i, num_rows, scratch);
  }
  StoreOutputs(block, head, packed.head_dim, scratch);
}

template <class Kept>
void Pack(op::Compute compute, const PackedHead& head, const HeadRows& keys, const HeadRows& values,
          size_t block, std::byte* scratch) {
  const HeadLayout layout(head, Kept::kPerDword);
  const Levels levels = LevelsOf(compute, head.head_dim);
  PackKeys<Kept>(layout, keys, head.head_dim, levels.qk, block, scratch);
  PackValues<Kept>(layout, values, head.head_dim, levels, block, scratch);
}

void PackBlock(op::Compute compute, const PackedHead& head, const HeadRows& keys,
               const HeadRows& values, size_t block, std::byte* scratch) {
  if (compute != op::Compute::kI8) {
    return Pack<Words>(compute, head, keys, values, block, scratch);
  }
  WithKept8([&]<class Kept>(Kept) { Pack<Kept>(compute, head, keys, values, block, scratch); });
}

void AttendBlock(op::Compute compute, const IntQueries& block, const PackedHead& head,
                 std::byte* scratch) {
  if (compute != op::Compute::kI8) {
    return Attend<Words, op::Compute::kI16>(block, head, scratch);
  }
  WithKept8([&]<class Kept>(Kept) { Attend<Kept, op::Compute::kI8>(block, head, scratch); });
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace ingot::cpu
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace ingot::cpu {

HWY_EXPORT(PackBlock);
HWY_EXPORT(AttendBlock);

size_t PackedHead::NumBytes(size_t num_keys, size_t head_dim) {
  const size_t dim = RoundUp(head_dim, kLine), keys = RoundUp(num_keys, kKeyGroup);
  const size_t blocks = RoundUp(num_keys, kKeyBlock) / kKeyBlock;
  return RoundUp(keys * (4 * dim + 12) + blocks * (8 * dim + 4), 64);
}

size_t IntScratchBytes(size_t head_dim) {
  const size_t dim = RoundUp(head_dim, kLine);
  return kQueryBlock * (6 * kKeyBlock + 6 * dim + sizeof(float) * (kLine + Scratch::kRowArrays));
}

void PackKeyBlock(op::Compute compute, const PackedHead& head, const HeadRows& keys,
                  const HeadRows& values, size_t block, std::byte* scratch) {
  HWY_DYNAMIC_DISPATCH(PackBlock)(compute, head, keys, values, block, scratch);
}

void AttendInt(op::Compute compute, const IntQueries& block, const PackedHead& head,
               std::byte* scratch) {
  HWY_DYNAMIC_DISPATCH(AttendBlock)(compute, block, head, scratch);
}

}  // namespace ingot::cpu
#endif  // HWY_ONCE
