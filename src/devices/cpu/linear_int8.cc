#include "devices/cpu/linear_int8.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <functional>
#include <limits>
#include <utility>

#include "devices/cpu/dequantize.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "devices/cpu/linear_int8.cc"
#include <hwy/foreach_target.h>  // IWYU pragma: keep

#include "devices/cpu/block_values-inl.h"
#include "devices/cpu/linear_rows-inl.h"
#include "devices/cpu/linear_store-inl.h"
#include "devices/cpu/simd-inl.h"
#include "devices/cpu/transpose-inl.h"

#ifndef INGOT_DEVICES_CPU_LINEAR_INT8_ONCE_
#define INGOT_DEVICES_CPU_LINEAR_INT8_ONCE_
namespace ingot::cpu {

inline constexpr size_t kScaleK = 256;        // K that share a scale
inline constexpr size_t kPanelFeatures = 64;  // features of one item of work
inline constexpr size_t kMaxOutliers = 64;    // K of the outliers' block
inline constexpr float kOutlierFactor = 6.0f;
inline constexpr size_t kSliceK = 1024;      // K of one item of the search for outliers
inline constexpr size_t kQuantizeRows = 32;  // rows of one item of the quantizer
inline constexpr size_t kWidthGrid = 64;     // K of the last block is filled up with zeros to this
inline constexpr float kLeastMax = 1e-30f;   // keeps 127 / max finite
inline constexpr float kMagic = 0x1.8p23f;   // kMagic + an integer below 2^22 is exact
// f32 rows that are read twice (search, quantizer) without leaving L3.
inline constexpr size_t kBatchBytes = size_t{16} << 20;

// The outlier channels of a group of rows, ascending.
struct Outliers {
  uint32_t count;
  uint32_t channels[kMaxOutliers];
};

// Rows [begin, begin + count) of the call: a part of one picture.
struct RowGroup {
  size_t begin, count;
};

// One block of K of a panel of weights.
struct PanelBlock {
  std::byte* values;  // [column tiles][width / kGroupK][columns of a tile][kGroupK]
  int32_t* starts;    // [kPanelFeatures], where sums of unsigned x start
  float* scales;      // [kPanelFeatures]
  float* offsets;     // scales * kMagic
};

// Parts of the workspace one after the other, each aligned; with no memory, their sum.
class Carver {
 public:
  explicit Carver(std::byte* memory) : memory_(memory) {}
  template <typename T>
  T* Take(size_t count) {
    std::byte* part = memory_ == nullptr ? nullptr : memory_ + used_;
    used_ += hwy::RoundUpTo(count * sizeof(T), size_t{kTensorAlignment});
    return reinterpret_cast<T*>(part);
  }
  size_t used() const { return used_; }

 private:
  std::byte* memory_;
  size_t used_ = 0;
};

struct Int8Scratch {
  PanelBlock panel;     // all blocks of K one after the other
  PanelBlock outliers;  // of the group in work
  float* sums;          // [kRowGrid][kPanelFeatures]
  int16_t* wide;        // [kRowGrid][kScaleK]: x of a block where products are of 16 bits
  uint64_t* keys;       // [K], for the choice of outliers
};

// Sizes and places in the workspace.
struct Int8Layout {
  Int8Layout(size_t rows, size_t picture_rows, size_t k)
      : num_rows(rows),
        num_k(k),
        rows_per_picture(picture_rows),
        num_blocks(hwy::DivCeil(k, kScaleK)),
        padded_k(hwy::RoundUpTo(k, kWidthGrid)),
        groups_per_picture(hwy::DivCeil(picture_rows, static_cast<size_t>(kRowGrid))),
        num_groups(rows / picture_rows * groups_per_picture),
        batch_groups(
            std::clamp<size_t>(kBatchBytes / (kRowGrid * k * sizeof(float)), 1, num_groups)) {}

  size_t width(size_t block) const { return std::min(kScaleK, padded_k - block * kScaleK); }
  RowGroup group(size_t idx) const {
    const size_t begin = idx % groups_per_picture * kRowGrid;
    return {idx / groups_per_picture * rows_per_picture + begin,
            std::min<size_t>(kRowGrid, rows_per_picture - begin)};
  }

  size_t num_rows, num_k, rows_per_picture;
  size_t num_blocks, padded_k, groups_per_picture, num_groups, batch_groups;
};

struct Int8Job {
  Int8Job(const LinearCall& c, std::byte* memory)
      : call(c), layout(c.num_rows, c.rows_per_picture, c.num_k) {
    Carver carver(memory);
    CarveShared(carver);
    threads = carver.Take<std::byte>(0);
  }
  void CarveShared(Carver& carver) {
    slab = carver.Take<uint8_t>((layout.padded_k + kMaxOutliers) * layout.num_rows);
    row_scales = carver.Take<float>((layout.num_blocks + 1) * layout.num_rows);
    outliers = carver.Take<Outliers>(layout.num_groups);
    maxima = carver.Take<int32_t>(layout.batch_groups * layout.padded_k);
    norms = carver.Take<float>(2 * layout.num_rows);
  }

  // Bytes of row `row` at block `block` of K; the next row's are a width behind. Block num_blocks
  // is the outliers'.
  uint8_t* SlabRow(size_t block, size_t row) const {
    const size_t begin = std::min(block * kScaleK, layout.padded_k);
    const size_t width = block == layout.num_blocks ? kMaxOutliers : layout.width(block);
    return slab + begin * layout.num_rows + row * width;
  }
  float* RowScale(size_t block, size_t row) const {
    return row_scales + block * layout.num_rows + row;
  }

  const LinearCall& call;
  Int8Layout layout;
  uint8_t* slab = nullptr;       // [blocks][rows][width], x + 128
  float* row_scales = nullptr;   // [blocks][rows]
  Outliers* outliers = nullptr;  // [groups]
  int32_t* maxima = nullptr;     // [groups of a batch][padded_k], max|x| of channels as bits
  float* norms = nullptr;        // [rows][2]: RowNorm
  std::byte* threads = nullptr;
  size_t batch_begin = 0;  // first group of the batch
  const std::stop_token* stop = nullptr;
};

}  // namespace ingot::cpu
#endif  // INGOT_DEVICES_CPU_LINEAR_INT8_ONCE_

HWY_BEFORE_NAMESPACE();
namespace ingot::cpu {
namespace HWY_NAMESPACE {
namespace {

using DF = hn::ScalableTag<float>;
using DI32 = hn::ScalableTag<int32_t>;
using DU32 = hn::ScalableTag<uint32_t>;
constexpr size_t kLanes = HWY_MAX_BYTES / sizeof(float);

// A dword of the panel holds kGroupK consecutive k of one feature: bytes for vpdpbusd, 16-bit
// integers for vpmaddwd.
#if HWY_TARGET == HWY_AVX3_DL
constexpr bool kHasDotProduct = true;
using PanelValue = int8_t;
constexpr size_t kTileRows = 6, kTileVectors = 4, kUnroll = 1;
#else
constexpr bool kHasDotProduct = false;
using PanelValue = int16_t;
constexpr size_t kTileRows = kLanes == 16 ? 12 : 4, kTileVectors = 2, kUnroll = 2;
#endif
constexpr size_t kGroupK = 4 / sizeof(PanelValue);
constexpr size_t kTileFeatures = kTileVectors * kLanes;
static_assert(kPanelFeatures % kTileFeatures == 0);

PanelBlock CarvePanel(Carver& carver, size_t padded_k, size_t num_blocks) {
  PanelBlock panel;
  panel.values = carver.Take<std::byte>(padded_k * kPanelFeatures * sizeof(PanelValue));
  panel.starts = carver.Take<int32_t>(num_blocks * kPanelFeatures);
  panel.scales = carver.Take<float>(num_blocks * kPanelFeatures);
  panel.offsets = carver.Take<float>(num_blocks * kPanelFeatures);
  return panel;
}

Int8Scratch CarveScratch(const Int8Layout& layout, Carver& carver) {
  Int8Scratch scratch;
  scratch.panel = CarvePanel(carver, layout.padded_k, layout.num_blocks);
  scratch.outliers = CarvePanel(carver, kMaxOutliers, 1);
  scratch.sums = carver.Take<float>(kRowGrid * kPanelFeatures);
  scratch.wide = carver.Take<int16_t>(kHasDotProduct ? 0 : kRowGrid * kScaleK);
  scratch.keys = carver.Take<uint64_t>(layout.num_k);
  return scratch;
}

size_t ScratchBytes(const Int8Layout& layout) {
  Carver carver(nullptr);
  CarveScratch(layout, carver);
  return carver.used();
}

Int8Scratch ScratchOf(const Int8Job& job, size_t thread) {
  Carver carver(job.threads + thread * ScratchBytes(job.layout));
  return CarveScratch(job.layout, carver);
}

// ---- Outliers

RowNorm NormAt(const Int8Job& job, size_t row) {
  return {job.norms[2 * row], job.norms[2 * row + 1]};
}

// Statistics of kQuantizeRows rows that their elements need.
void TakeNorms(const Int8Job& job, size_t item) {
  const size_t end = std::min((item + 1) * kQuantizeRows, job.layout.num_rows);
  for (size_t row = item * kQuantizeRows; row < end; ++row) {
    const RowNorm norm = NormOfRow(job.call, row);
    job.norms[2 * row] = norm.mean;
    job.norms[2 * row + 1] = norm.inv_std;
  }
}

// maxima[i] = max over rows of the bits of |rows[r][i]|: NaN and infinity are the largest.
template <size_t kRows>
HWY_INLINE void RaiseMaxima(const float* const* rows, size_t n, int32_t* HWY_RESTRICT maxima) {
  const DF d;
  const DI32 di;
  const auto raise = [&](auto max, const auto& load) INGOT_UNROLLED {
    for (size_t r = 0; r < kRows; ++r) max = hn::Max(max, hn::BitCast(di, hn::Abs(load(rows[r]))));
    return max;
  };
  size_t i = 0;
  for (; i + kLanes <= n; i += kLanes) {
    hn::StoreU(raise(hn::LoadU(di, maxima + i),
                     [&](const float* row) INGOT_UNROLLED { return hn::LoadU(d, row + i); }),
               di, maxima + i);
  }
  if (i == n) return;
  hn::StoreU(raise(hn::LoadU(di, maxima + i),
                   [&](const float* row) INGOT_UNROLLED { return LoadFirst(d, row + i, n - i); }),
             di, maxima + i);
}

// One group's largest magnitudes of kSliceK channels.
void FindMaxima(const Int8Job& job, size_t item) {
  constexpr size_t kRows = 4;
  alignas(64) float buffers[kRows][kSliceK];
  const size_t num_slices = hwy::DivCeil(job.layout.num_k, kSliceK);
  const size_t idx = item / num_slices, k = item % num_slices * kSliceK;
  const size_t n = std::min(kSliceK, job.layout.num_k - k);
  const RowGroup group = job.layout.group(job.batch_begin + idx);
  int32_t* maxima = job.maxima + idx * job.layout.padded_k + k;
  std::fill_n(maxima, hwy::RoundUpTo(n, kWidthGrid), 0);
  const float* rows[kRows];
  const auto make_row = [&](size_t r, size_t row) {
    rows[r] = BoundRow(job.call, row, NormAt(job, row), k, n, buffers[r]);
  };
  size_t row = group.begin;
  for (; row + kRows <= group.begin + group.count; row += kRows) {
    for (size_t r = 0; r < kRows; ++r) make_row(r, row + r);
    RaiseMaxima<kRows>(rows, n, maxima);
  }
  for (; row < group.begin + group.count; ++row) {
    make_row(0, row);
    RaiseMaxima<1>(rows, n, maxima);
  }
}

// ---- Quantizing

// `width` values to bytes q + 128; their scale.
HWY_INLINE float QuantizeBlock(const float* HWY_RESTRICT values, size_t width,
                               uint8_t* HWY_RESTRICT out) {
  const DF d;
  const DI32 di;
  const hn::Rebind<uint8_t, DF> du8;
  auto max0 = hn::Zero(di), max1 = hn::Zero(di);
  for (size_t i = 0; i < width; i += 2 * kLanes) {
    max0 = hn::Max(max0, hn::BitCast(di, hn::Abs(hn::LoadU(d, values + i))));
    max1 = hn::Max(max1, hn::BitCast(di, hn::Abs(hn::LoadU(d, values + i + kLanes))));
  }
  const float max = std::bit_cast<float>(hn::GetLane(hn::MaxOfLanes(di, hn::Max(max0, max1))));
  const bool finite = max <= std::numeric_limits<float>::max();
  const bool counts = finite && max >= kLeastMax;
  // Added to 1.5 * 2^23 + 128, a number is rounded to an integer that stands in the low bits.
  const auto factor = hn::Set(d, counts ? 127.0f / max : 0.0f);
  const auto magic = hn::Set(d, kMagic + 128.0f);
  for (size_t i = 0; i < width; i += kLanes) {
    const auto sum = hn::MulAdd(hn::LoadU(d, values + i), factor, magic);
    // Not TruncateTo: that of Highway 1.0.3 is wrong on AVX3_DL.
    const auto low = hn::And(hn::BitCast(di, sum), hn::Set(di, 255));
    hn::StoreU(hn::DemoteTo(du8, low), du8, out + i);
  }
  if (!finite) return std::numeric_limits<float>::quiet_NaN();
  return counts ? max * (1.0f / 127.0f) : 0.0f;
}

void QuantizeRow(const Int8Job& job, const Outliers& outliers, size_t row) {
  alignas(64) float buffer[kScaleK];
  alignas(64) float lanes[kMaxOutliers] = {};
  const RowNorm norm = NormAt(job, row);
  size_t outlier = 0;
  for (size_t block = 0; block < job.layout.num_blocks; ++block) {
    const size_t k = block * kScaleK, width = job.layout.width(block);
    const size_t n = std::min(width, job.layout.num_k - k);
    const float* values = MakeRow(job.call, row, norm, k, n, buffer);
    // What is read two blocks later, and what the next row writes: the slab is far larger than L2.
    uint8_t* bytes = job.SlabRow(block, row);
    for (size_t i = 0; i < width; i += 16) __builtin_prefetch(values + 2 * kScaleK + i);
    for (size_t i = 0; i < width; i += 64) __builtin_prefetch(bytes + width + i, 1);
    const bool has_outliers = outlier < outliers.count && outliers.channels[outlier] < k + kScaleK;
    if (has_outliers || n != width) {
      if (values != buffer) std::copy_n(values, n, buffer);
      std::fill(buffer + n, buffer + width, 0.0f);
      values = buffer;
    }
    for (; outlier < outliers.count && outliers.channels[outlier] < k + kScaleK; ++outlier) {
      float& value = buffer[outliers.channels[outlier] - k];
      lanes[outlier] = std::exchange(value, 0.0f);
    }
    *job.RowScale(block, row) = QuantizeBlock(values, width, bytes);
  }
  if (outliers.count == 0) return;
  const size_t block = job.layout.num_blocks;
  *job.RowScale(block, row) = QuantizeBlock(lanes, kMaxOutliers, job.SlabRow(block, row));
}

// kQuantizeRows rows of a group of the batch.
void QuantizeRows(const Int8Job& job, size_t item) {
  constexpr size_t kItems = kRowGrid / kQuantizeRows;
  const size_t idx = job.batch_begin + item / kItems;
  const RowGroup group = job.layout.group(idx);
  const size_t begin = item % kItems * kQuantizeRows;
  const size_t end = std::min(begin + kQuantizeRows, group.count);
  for (size_t row = begin; row < end; ++row) {
    QuantizeRow(job, job.outliers[idx], group.begin + row);
  }
}

// ---- Weights

// The scale of weights of magnitude up to `max`, and what they are divided by. Two bits are
// cleared so that scale * kMagic is exact.
struct WeightScale {
  float scale, factor;
};
HWY_INLINE WeightScale ScaleOfWeights(float max, float weight_scale) {
  if (!(max <= std::numeric_limits<float>::max())) {
    return {std::numeric_limits<float>::quiet_NaN(), 0.0f};
  }
  if (max < kLeastMax) return {0.0f, 0.0f};
  const float scale = max * (1.0f / 127.0f) * weight_scale;
  return {std::bit_cast<float>(std::bit_cast<uint32_t>(scale) & ~3u), 127.0f / max};
}

// A run's factors in units of the scale, each twice in a dword: a so that the upper half of its
// product with v << kShift is a * v in units of 2^-6, b in these units less the half that rounds.
struct RunFactors {
  alignas(32) int32_t a[16], b[16];
};

HWY_INLINE void StoreTwice(blocks::F32x8 v, float factor, int32_t less, int32_t* out) {
  using blocks::kF32, blocks::kI32;
  const auto scaled = hn::MulAdd(v, hn::Set(kF32, factor), hn::Set(kF32, kMagic));
  const auto bits =
      hn::Sub(hn::BitCast(kI32, scaled), hn::Set(kI32, std::bit_cast<int32_t>(kMagic) + less));
  hn::Store(hn::Or(hn::ShiftLeft<16>(bits), hn::And(bits, hn::Set(kI32, 0xFFFF))), kI32, out);
}

// The scale of a run of `n` weights, a multiple of 32, of one feature.
template <class Format>
HWY_INLINE float ScaleRun(const uint8_t* block, size_t n, float weight_scale, RunFactors& out) {
  using blocks::kF32, blocks::kI32;
  const auto factors = Format::GetFactors(block, n / Format::kBlockK);
  auto bits = hn::BitCast(kI32, Format::Largest(factors.a[0], factors.b[0]));
  for (size_t i = 1; i < Format::kSubBlocks / 8; ++i) {
    bits = hn::Max(bits, hn::BitCast(kI32, Format::Largest(factors.a[i], factors.b[i])));
  }
  const float max = std::bit_cast<float>(hn::GetLane(hn::MaxOfLanes(kI32, bits)));
  const auto [scale, factor] = ScaleOfWeights(max, weight_scale);
  for (size_t i = 0; i < Format::kSubBlocks / 8; ++i) {
    StoreTwice(factors.a[i], factor * (1 << (21 - Format::kShift)), 0, out.a + 8 * i);
    StoreTwice(factors.b[i], factor * 64.0f, 32, out.b + 8 * i);
  }
  return scale;
}

// The run's weights as bytes.
template <class Format>
HWY_INLINE void QuantizeRun(const uint8_t* block, size_t n, const RunFactors& factors,
                            int8_t* out) {
  using blocks::kI16, blocks::kI32;
  constexpr size_t kPerValues = Format::kSubBlocks / 8;
  const auto quantize = [&](auto v, size_t sub_block) INGOT_UNROLLED {
    const auto a = hn::BitCast(kI16, hn::Set(kI32, factors.a[sub_block]));
    const auto b = hn::BitCast(kI16, hn::Set(kI32, factors.b[sub_block]));
    return hn::ShiftRight<6>(hn::Sub(hn::MulFixedPoint15(v, a), b));
  };
  const auto quantize32 = [&](size_t j) INGOT_UNROLLED {
    const blocks::Values32 v = Format::Values(block, j);
    const auto low = quantize(v.low, j * kPerValues);
    const auto high = quantize(v.high, j * kPerValues + kPerValues - 1);
    // Packed within 128-bit blocks: the middle quarters change places.
    const __m256i packed = _mm256_packs_epi16(low.raw, high.raw);
    _mm256_store_si256(reinterpret_cast<__m256i*>(out + 32 * j),
                       _mm256_permute4x64_epi64(packed, 0b11011000));
  };
  if (HWY_LIKELY(n == kScaleK)) {
    Unroll<kScaleK / 32>([&](auto j) INGOT_UNROLLED { quantize32(j); });
  } else {
    for (size_t j = 0; j < n / 32; ++j) quantize32(j);
  }
}

// The same of any type, through f32.
float QuantizeRunOfF32(const ConstTensorView& weight, size_t feature, size_t k, size_t n,
                       int8_t* out) {
  alignas(64) float values[kScaleK] = {};
  alignas(64) uint8_t bytes[kScaleK];
  ConstTensorView unscaled = weight;
  unscaled.scale = 1.0f;
  DequantizeWeight(unscaled, static_cast<int64_t>(feature), static_cast<int64_t>(k),
                   static_cast<int64_t>(n), values);
  QuantizeBlock(values, kScaleK, bytes);
  for (size_t i = 0; i < kScaleK; ++i) out[i] = static_cast<int8_t>(bytes[i] - 128);
  float max = 0.0f;
  for (float value : values) max = value == value ? std::max(max, std::abs(value)) : INFINITY;
  return ScaleOfWeights(max, weight.scale).scale;
}

// Where the dwords of feature n (of the panel) at K group `group` of a block start.
HWY_INLINE uint32_t* PanelDwords(std::byte* values, size_t width, size_t n, size_t group) {
  const size_t tile = n / kTileFeatures;
  return reinterpret_cast<uint32_t*>(values) + tile * (width / kGroupK) * kTileFeatures +
         group * kTileFeatures + n % kTileFeatures;
}

// In assembler: from intrinsics g++ 12 makes copies and spills of sums.
HWY_INLINE void AddDotProducts(hn::Vec<DI32>& sum, hn::Vec<DI32> x, hn::Vec<DI32> w) {
  if constexpr (kHasDotProduct) {
    asm("vpdpbusd %2, %1, %0" : "+v"(sum.raw) : "v"(x.raw), "v"(w.raw));
  } else {
    hn::Vec<DI32> products;
    asm("vpmaddwd %3, %2, %1\n\tvpaddd %1, %0, %0"
        : "+v"(sum.raw), "=&v"(products.raw)
        : "v"(x.raw), "v"(w.raw));
  }
}

// Where sums start, and scales with kMagic in them, of kTransposedRows features from n of a block.
HWY_INLINE void FinishBlock(const PanelBlock& block, size_t width, size_t n) {
  const DF d;
  const DI32 di;
  for (size_t i = n; i < n + kTransposedRows; i += kLanes) {
    const auto scales = hn::Load(d, block.scales + i);
    hn::Store(hn::Mul(scales, hn::Set(d, kMagic)), d, block.offsets + i);
    if constexpr (!kHasDotProduct) continue;
    auto sum = hn::Zero(di);
    const auto ones = hn::Set(di, 0x01010101);
    for (size_t group = 0; group < width / kGroupK; ++group) {
      const auto dwords = hn::Load(DU32(), PanelDwords(block.values, width, i, group));
      AddDotProducts(sum, ones, hn::BitCast(di, dwords));
    }
    // x is 128 above its value, and the magic number makes the sum a float.
    hn::Store(hn::Sub(hn::BitCast(di, hn::Set(d, kMagic)), hn::ShiftLeft<7>(sum)), di,
              block.starts + i);
  }
}

// The block's bytes of kTransposedRows features, kScaleK apart, into the panel.
HWY_INLINE void PackBlock(const int8_t* bytes, const PanelBlock& block, size_t width, size_t n) {
  constexpr size_t kStepK = kLanes * kGroupK;
  const DU32 d;
  for (size_t k = 0; k < width; k += kStepK) {
    const auto load = [&](size_t feature) INGOT_UNROLLED {
      const int8_t* from = bytes + feature * kScaleK + k;
      if constexpr (kHasDotProduct) {
        return hn::Load(d, reinterpret_cast<const uint32_t*>(from));
      } else {
        const hn::ScalableTag<int16_t> di16;
        const hn::Rebind<int8_t, decltype(di16)> di8;
        return hn::BitCast(d, hn::PromoteTo(di16, hn::Load(di8, from)));
      }
    };
    TransposeDwords(load, PanelDwords(block.values, width, n, k / kGroupK), kTileFeatures);
  }
  FinishBlock(block, width, n);
}

PanelBlock BlockOf(const PanelBlock& panel, size_t block) {
  return {panel.values + block * kScaleK * kPanelFeatures * sizeof(PanelValue),
          panel.starts + block * kPanelFeatures, panel.scales + block * kPanelFeatures,
          panel.offsets + block * kPanelFeatures};
}

// The panel of features from `feature` on; zeros behind the last feature and the last k.
// quantize(f, count, k, n, scales, bytes) quantizes [k, k + n) of `count` features from f on.
template <class Quantize>
HWY_INLINE void PackPanel(const Int8Job& job, size_t feature, const PanelBlock& panel,
                          const Quantize& quantize) {
  alignas(64) int8_t bytes[kTransposedRows * kScaleK];
  for (size_t n = 0; n < kPanelFeatures; n += kTransposedRows) {
    const size_t end = std::min(job.call.num_features, feature + n + kTransposedRows);
    const size_t count = end - std::min(feature + n, end);
    for (size_t block = 0; block < job.layout.num_blocks; ++block) {
      const PanelBlock to = BlockOf(panel, block);
      const size_t k = block * kScaleK, width = job.layout.width(block);
      const size_t num_k = std::min(width, job.layout.num_k - k);
      quantize(feature + n, count, k, num_k, to.scales + n, bytes);
      std::fill_n(to.scales + n + count, kTransposedRows - count, 0.0f);
      for (size_t i = 0; i < kTransposedRows; ++i) {
        const size_t filled = i < count ? num_k : 0;
        if (filled < width) std::memset(bytes + i * kScaleK + filled, 0, width - filled);
      }
      PackBlock(bytes, to, width, n);
    }
  }
}

template <class Format>
HWY_NOINLINE void PackFormat(const Int8Job& job, size_t feature, const PanelBlock& panel) {
  constexpr size_t kRunBytes = kScaleK / Format::kBlockK * Format::kBlockBytes;
  const ConstTensorView& weight = job.call.weight;
  const size_t row_bytes = job.layout.num_k / Format::kBlockK * Format::kBlockBytes;
  const auto quantize = [&](size_t f, size_t count, size_t k, size_t n, float* scales,
                            int8_t* bytes) INGOT_UNROLLED {
    const auto* run = reinterpret_cast<const uint8_t*>(weight.data) + f * row_bytes +
                      k / Format::kBlockK * Format::kBlockBytes;
    // Scales first: each is a long chain of dependent steps, and many of them overlap.
    RunFactors factors[kTransposedRows];
    for (size_t i = 0; i < count; ++i) {
      // The same run of the features that are packed next.
      const uint8_t* next = run + (kTransposedRows + i) * row_bytes;
      for (size_t at = 0; at < kRunBytes + 63; at += 64) __builtin_prefetch(next + at, 0, 2);
      scales[i] = ScaleRun<Format>(run + i * row_bytes, n, weight.scale, factors[i]);
    }
    for (size_t i = 0; i < count; ++i) {
      QuantizeRun<Format>(run + i * row_bytes, n, factors[i], bytes + i * kScaleK);
    }
  };
  PackPanel(job, feature, panel, quantize);
}

void PackWeights(const Int8Job& job, size_t feature, const PanelBlock& panel) {
  const ConstTensorView& weight = job.call.weight;
  const bool done = blocks::WithFormat(
      weight.dtype, [&]<class Format>(Format) { PackFormat<Format>(job, feature, panel); });
  if (done) return;
  PackPanel(job, feature, panel,
            [&](size_t f, size_t count, size_t k, size_t n, float* scales, int8_t* bytes) HWY_ATTR {
              for (size_t i = 0; i < count; ++i) {
                scales[i] = QuantizeRunOfF32(weight, f + i, k, n, bytes + i * kScaleK);
              }
            });
}

// The panel's weights of the outlier channels as a block of their own.
void GatherOutliers(const Int8Job& job, const Outliers& outliers, const PanelBlock& panel,
                    const PanelBlock& to) {
  const DF d;
  const DI32 di;
  constexpr int kBits = 8 * sizeof(PanelValue);
  for (size_t n = 0; n < kPanelFeatures; n += kLanes) {
    hn::Vec<DF> max = hn::Zero(d);
    alignas(64) float weights[kMaxOutliers][kLanes];
    const auto value = [&](size_t i) INGOT_UNROLLED {
      const size_t channel = outliers.channels[i], block = channel / kScaleK;
      const size_t k = channel % kScaleK, shift = kBits * (kGroupK - 1 - k % kGroupK);
      const PanelBlock from = BlockOf(panel, block);
      const auto dwords = hn::BitCast(
          di, hn::Load(DU32(), PanelDwords(from.values, job.layout.width(block), n, k / kGroupK)));
      const auto v = hn::ShiftRight<32 - kBits>(hn::ShiftLeftSame(dwords, static_cast<int>(shift)));
      return hn::Mul(hn::ConvertTo(d, v), hn::Load(d, from.scales + n));
    };
    for (size_t i = 0; i < outliers.count; ++i) {
      const auto w = value(i);
      hn::Store(w, d, weights[i]);
      max = hn::Max(max, hn::Abs(w));
    }
    // A NaN may be lost here: the feature's own block has it, in its scale.
    const auto scale = hn::Mul(max, hn::Set(d, 1.0f / 127.0f));
    hn::Store(hn::BitCast(d, hn::And(hn::BitCast(di, scale), hn::Set(di, ~3))), d, to.scales + n);
    const auto factor =
        hn::IfThenElseZero(hn::Ge(max, hn::Set(d, kLeastMax)), hn::Div(hn::Set(d, 127.0f), max));
    for (size_t group = 0; group < kMaxOutliers / kGroupK; ++group) {
      auto dwords = hn::Zero(di);
      for (size_t i = 0; i < kGroupK && group * kGroupK + i < outliers.count; ++i) {
        const auto w = hn::Load(d, weights[group * kGroupK + i]);
        const auto q = hn::Sub(hn::BitCast(di, hn::MulAdd(w, factor, hn::Set(d, kMagic))),
                               hn::BitCast(di, hn::Set(d, kMagic)));
        const auto bits = hn::And(q, hn::Set(di, static_cast<int32_t>((int64_t{1} << kBits) - 1)));
        dwords = hn::Or(dwords, hn::ShiftLeftSame(bits, static_cast<int>(kBits * i)));
      }
      hn::Store(hn::BitCast(DU32(), dwords), DU32(),
                PanelDwords(to.values, kMaxOutliers, n, group));
    }
  }
  for (size_t n = 0; n < kPanelFeatures; n += kTransposedRows) FinishBlock(to, kMaxOutliers, n);
}

// ---- Products

// Rows of x against a tile's features of one block of K.
struct Sweep {
  const std::byte* x;  // bytes x + 128 where there is vpdpbusd, 16-bit integers elsewhere
  size_t x_stride;     // bytes from row to row
  const float* row_scales;
  PanelBlock block;  // at the tile's first feature
  size_t num_k;      // a multiple of kWidthGrid
  float* sums;       // rows kPanelFeatures apart
  // Where the sums go when this is the last block, to be fetched in time; null before.
  const float* out;
  size_t out_stride;
};

// sums of num_tiles * kRows rows = (first block ? 0 : sums) + scaled products.
template <size_t kRows, bool kFirst>
HWY_NOINLINE void MultiplyRows(const Sweep& sweep, size_t num_tiles) {
  const DF d;
  const DI32 di;
  const std::byte* rows = sweep.x;
  const size_t stride = sweep.x_stride;
  const float* row_scales = sweep.row_scales;
  float* out = sweep.sums;
  for (size_t tile = 0; tile < num_tiles; ++tile) {
    hn::Vec<DI32> sums[kRows * kTileVectors];
    Unroll<kRows * kTileVectors>([&](auto i) INGOT_UNROLLED {
      sums[i] = kHasDotProduct ? hn::Load(di, sweep.block.starts + i % kTileVectors * kLanes)
                               : hn::Zero(di);
    });
    const std::byte* x = rows;
    const std::byte* x_ahead = rows + 2 * kRows * stride;
    const auto* w = reinterpret_cast<const int32_t*>(sweep.block.values);
    for (size_t k = 0; k < sweep.num_k; k += kUnroll * kGroupK) {
      __builtin_prefetch(x_ahead);
      x_ahead += 32 * kUnroll;
      Unroll<kUnroll>([&](auto u) INGOT_UNROLLED {
        asm volatile("" ::: "memory");  // keeps g++ from loading the next weights early: it spills
        hn::Vec<DI32> weights[kTileVectors];
        Unroll<kTileVectors>([&](auto v) INGOT_UNROLLED {
          weights[v] = hn::Load(di, w + u * kTileFeatures + v * kLanes);
        });
        Unroll<kRows>([&](auto r) INGOT_UNROLLED {
          int32_t bits;
          std::memcpy(&bits, x + r * stride + 4 * u, sizeof bits);
          const auto group = hn::Set(di, bits);
          Unroll<kTileVectors>([&](auto v) INGOT_UNROLLED {
            AddDotProducts(sums[r * kTileVectors + v], group, weights[v]);
          });
        });
      });
      x += 4 * kUnroll;
      w += kUnroll * kTileFeatures;
    }
    Unroll<kRows>([&](auto r) INGOT_UNROLLED {
      const auto row_scale = hn::Set(d, row_scales[r]);
      Unroll<kTileVectors>([&](auto v) INGOT_UNROLLED {
        float* to = out + r * kPanelFeatures + v * kLanes;
        const auto scales = hn::Load(d, sweep.block.scales + v * kLanes);
        const auto sum = sums[r * kTileVectors + v];
        // kMagic + dot as float, times scale, less kMagic * scale: both round scale * dot once.
        const auto product = kHasDotProduct
                                 ? hn::MulSub(hn::BitCast(d, sum), scales,
                                              hn::Load(d, sweep.block.offsets + v * kLanes))
                                 : hn::Mul(hn::ConvertTo(d, sum), scales);
        hn::Store(
            kFirst ? hn::Mul(product, row_scale) : hn::MulAdd(product, row_scale, hn::Load(d, to)),
            d, to);
      });
    });
    for (size_t r = 0; r < kRows && sweep.out != nullptr; ++r) {
      const float* line = sweep.out + (tile * kRows + r) * sweep.out_stride;
      Unroll<kPanelFeatures / 16>([&](auto i)
                                      INGOT_UNROLLED { __builtin_prefetch(line + 16 * i, 1); });
    }
    rows += kRows * stride;
    row_scales += kRows;
    out += kRows * kPanelFeatures;
  }
}

// The last `rows` < kRows of a group.
template <size_t kRows, bool kFirst>
void MultiplyLastRows(const Sweep& sweep, size_t rows) {
  if constexpr (kRows > 0) {
    if (rows == kRows) return MultiplyRows<kRows, kFirst>(sweep, 1);
    MultiplyLastRows<kRows - 1, kFirst>(sweep, rows);
  }
}

template <bool kFirst>
void MultiplyBlock(Sweep sweep, size_t num_rows) {
  const size_t num_tiles = num_rows / kTileRows, whole = num_tiles * kTileRows;
  MultiplyRows<kTileRows, kFirst>(sweep, num_tiles);
  sweep.x += whole * sweep.x_stride;
  sweep.row_scales += whole;
  sweep.sums += whole * kPanelFeatures;
  if (sweep.out != nullptr) sweep.out += whole * sweep.out_stride;
  MultiplyLastRows<kTileRows - 1, kFirst>(sweep, num_rows - whole);
}

// sums = (first ? 0 : sums) + block `block` of the group's rows times `weights`.
void MultiplyBlock(const Int8Job& job, RowGroup rows, size_t block, size_t width,
                   const PanelBlock& weights, bool first, const float* out,
                   const Int8Scratch& scratch) {
  const uint8_t* bytes = job.SlabRow(block, rows.begin);
  Sweep sweep = {.x = reinterpret_cast<const std::byte*>(bytes),
                 .x_stride = width,
                 .row_scales = job.RowScale(block, rows.begin),
                 .block = weights,
                 .num_k = width,
                 .sums = scratch.sums,
                 .out = nullptr,
                 .out_stride = job.call.out_stride};
  if constexpr (!kHasDotProduct) {
    const hn::ScalableTag<int16_t> di16;
    const hn::Rebind<uint8_t, decltype(di16)> du8;
    for (size_t i = 0; i < rows.count * width; i += hn::Lanes(di16)) {
      __builtin_prefetch(bytes + i + 2048);
      const auto wide = hn::PromoteTo(di16, hn::LoadU(du8, bytes + i));
      hn::Store(hn::Sub(wide, hn::Set(di16, 128)), di16, scratch.wide + i);
    }
    sweep.x = reinterpret_cast<const std::byte*>(scratch.wide);
    sweep.x_stride = width * sizeof(int16_t);
  }
  for (size_t n = 0; n < kPanelFeatures; n += kTileFeatures) {
    sweep.sums = scratch.sums + n;
    sweep.out = n == 0 ? out : nullptr;
    sweep.block = {reinterpret_cast<std::byte*>(PanelDwords(weights.values, width, n, 0)),
                   weights.starts + n, weights.scales + n, weights.offsets + n};
    if (first) {
      MultiplyBlock<true>(sweep, rows.count);
    } else {
      MultiplyBlock<false>(sweep, rows.count);
    }
  }
}

void RunPanel(const Int8Job& job, size_t panel, size_t thread) {
  const Int8Scratch scratch = ScratchOf(job, thread);
  const size_t feature = panel * kPanelFeatures;
  const size_t num_features = std::min(kPanelFeatures, job.call.num_features - feature);
  PackWeights(job, feature, scratch.panel);
  for (size_t idx = 0; idx < job.layout.num_groups; ++idx) {
    if (job.stop->stop_requested()) return;
    const RowGroup group = job.layout.group(idx);
    const Outliers& outliers = job.outliers[idx];
    if (outliers.count > 0) {
      GatherOutliers(job, outliers, scratch.panel, scratch.outliers);
      MultiplyBlock(job, group, job.layout.num_blocks, kMaxOutliers, scratch.outliers, true,
                    nullptr, scratch);
    }
    const float* out = job.call.out + group.begin * job.call.out_stride + feature;
    for (size_t block = 0; block < job.layout.num_blocks; ++block) {
      MultiplyBlock(job, group, block, job.layout.width(block), BlockOf(scratch.panel, block),
                    block == 0 && outliers.count == 0,
                    block + 1 == job.layout.num_blocks ? out : nullptr, scratch);
    }
    for (size_t row = 0; row < group.count; ++row) {
      StoreRow(job.call, group.begin + row, feature, num_features,
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

HWY_EXPORT(ScratchBytes);
HWY_EXPORT(ScratchOf);
HWY_EXPORT(TakeNorms);
HWY_EXPORT(FindMaxima);
HWY_EXPORT(QuantizeRows);
HWY_EXPORT(RunPanel);

namespace {

// The outliers of group `idx` of the batch from its maxima.
void ChooseOutliers(const Int8Job& job, size_t idx, uint64_t* keys) {
  const size_t num_k = job.layout.num_k;
  const int32_t* maxima = job.maxima + idx * job.layout.padded_k;
  // Larger bits are larger magnitudes; of equal ones the first channel comes first.
  for (size_t k = 0; k < num_k; ++k) {
    keys[k] = uint64_t{static_cast<uint32_t>(maxima[k])} << 32 | (0xFFFFFFFF - k);
  }
  std::nth_element(keys, keys + num_k / 2, keys + num_k, std::greater());
  const float median = std::bit_cast<float>(static_cast<uint32_t>(keys[num_k / 2] >> 32));
  const uint64_t limit =
      uint64_t{std::bit_cast<uint32_t>(kOutlierFactor * median)} << 32 | 0xFFFFFFFF;
  Outliers& outliers = job.outliers[job.batch_begin + idx];
  const size_t num_candidates = std::min(kMaxOutliers, num_k / 2);
  std::nth_element(keys, keys + num_candidates, keys + num_k / 2, std::greater());
  outliers.count = 0;
  for (size_t i = 0; i < num_candidates; ++i) {
    if (keys[i] <= limit) continue;
    outliers.channels[outliers.count++] = 0xFFFFFFFF - static_cast<uint32_t>(keys[i]);
  }
  std::sort(outliers.channels, outliers.channels + outliers.count);
}

}  // namespace

int64_t LinearInt8WorkspaceBytes(size_t num_rows, size_t rows_per_picture, size_t num_k,
                                 size_t num_threads) {
  const LinearCall sizes = {
      .num_rows = num_rows, .num_k = num_k, .rows_per_picture = rows_per_picture};
  Int8Job job(sizes, nullptr);
  Carver carver(nullptr);
  job.CarveShared(carver);
  return static_cast<int64_t>(carver.used() +
                              num_threads * HWY_DYNAMIC_DISPATCH(ScratchBytes)(job.layout));
}

void RunLinearInt8(const LinearCall& call, std::span<std::byte> workspace, ThreadPool& pool,
                   std::stop_token stop) {
  Int8Job job(call, workspace.data());
  job.stop = &stop;
  // Lambdas capture one reference: more would make std::function allocate (promise P3).
  pool.ParallelFor(hwy::DivCeil(call.num_rows, kQuantizeRows), [&job](size_t item, size_t) {
    HWY_DYNAMIC_DISPATCH(TakeNorms)(job, item);
  });
  for (; job.batch_begin < job.layout.num_groups; job.batch_begin += job.layout.batch_groups) {
    const size_t num_groups =
        std::min(job.layout.batch_groups, job.layout.num_groups - job.batch_begin);
    const size_t num_slices = hwy::DivCeil(call.num_k, kSliceK);
    pool.ParallelFor(num_groups * num_slices, [&job](size_t item, size_t) {
      HWY_DYNAMIC_DISPATCH(FindMaxima)(job, item);
    });
    pool.ParallelFor(num_groups, [&job](size_t idx, size_t thread) {
      ChooseOutliers(job, idx, HWY_DYNAMIC_DISPATCH(ScratchOf)(job, thread).keys);
    });
    pool.ParallelFor(num_groups * (kRowGrid / kQuantizeRows), [&job](size_t item, size_t) {
      HWY_DYNAMIC_DISPATCH(QuantizeRows)(job, item);
    });
  }
  pool.ParallelFor(hwy::DivCeil(call.num_features, kPanelFeatures),
                   [&job](size_t panel, size_t thread) {
                     HWY_DYNAMIC_DISPATCH(RunPanel)(job, panel, thread);
                   });
}

}  // namespace ingot::cpu
#endif  // HWY_ONCE
