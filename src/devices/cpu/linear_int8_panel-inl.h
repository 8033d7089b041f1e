// The weights of a Linear in 8 bits: panels of 64 features, unpacked from any block format.
#include <algorithm>
#include <bit>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "devices/cpu/block_values-inl.h"
#include "devices/cpu/dequantize.h"
#include "devices/cpu/dot_products-inl.h"
#include "devices/cpu/linear_int8_job.h"
#include "devices/cpu/linear_int8_rows-inl.h"
#include "devices/cpu/transpose-inl.h"

// Read once per target of hwy/foreach_target.h, hence this toggle instead of #pragma once.
#if defined(INGOT_DEVICES_CPU_LINEAR_INT8_PANEL_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef INGOT_DEVICES_CPU_LINEAR_INT8_PANEL_INL_H_
#undef INGOT_DEVICES_CPU_LINEAR_INT8_PANEL_INL_H_
#else
#define INGOT_DEVICES_CPU_LINEAR_INT8_PANEL_INL_H_
#endif

HWY_BEFORE_NAMESPACE();
namespace ingot::cpu {
namespace HWY_NAMESPACE {
namespace {

// A panel keeps weights as the right side of products: a dword is Kept::kPerDword consecutive k of
// one feature.
template <class Kept>
constexpr bool kTakesBytes = Kept::kPerDword == 4;  // of x + 128

// What the registers hold of sums: kRows rows by kVectors vectors of features.
template <class Kept>
struct Tile;
template <>
struct Tile<Words> {
  static constexpr size_t kRows = kLanes == 16 ? 12 : 4, kVectors = 2, kUnroll = 2;
};
template <>
struct Tile<Bytes> {
  static constexpr size_t kRows = 6, kVectors = kLanes == 16 ? 4 : 2, kUnroll = 1;
};
template <class Kept>
constexpr size_t kTileFeatures = Tile<Kept>::kVectors* kLanes;

template <class Kept>
PanelBlock CarveWeights(Carver& carver, size_t padded_k, size_t num_blocks) {
  PanelBlock panel;
  panel.values = carver.Take<std::byte>(padded_k * kPanelFeatures * sizeof(typename Kept::Right));
  panel.starts = carver.Take<int32_t>(num_blocks * kPanelFeatures);
  panel.scales = carver.Take<float>(num_blocks * kPanelFeatures);
  panel.offsets = carver.Take<float>(num_blocks * kPanelFeatures);
  return panel;
}

template <class Kept>
Int8Scratch CarveScratch(const Int8Layout& layout, Carver& carver) {
  Int8Scratch scratch;
  for (size_t i = 0; i < layout.panels_per_item; ++i) {
    scratch.panels[i].weights = CarveWeights<Kept>(carver, layout.padded_k, layout.num_blocks);
    scratch.panels[i].sums = carver.Take<float>(kRowGrid * kPanelFeatures);
  }
  scratch.outliers = CarveWeights<Kept>(carver, kMaxOutliers, 1);
  scratch.wide = carver.Take<int16_t>(kTakesBytes<Kept> ? 0 : kRowGrid * kScaleK);
  scratch.keys = carver.Take<uint64_t>(layout.num_k);
  return scratch;
}

template <class Kept>
size_t ScratchBytes(const Int8Layout& layout) {
  Carver carver(nullptr);
  CarveScratch<Kept>(layout, carver);
  return carver.used();
}

template <class Kept>
Int8Scratch ScratchOf(const Int8Job& job, size_t thread) {
  Carver carver(job.threads + thread * ScratchBytes<Kept>(job.layout));
  return CarveScratch<Kept>(job.layout, carver);
}

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
template <class Kept>
HWY_INLINE uint32_t* PanelDwords(std::byte* values, size_t width, size_t n, size_t group) {
  const size_t tile = n / kTileFeatures<Kept>;
  return reinterpret_cast<uint32_t*>(values) +
         tile * (width / Kept::kPerDword) * kTileFeatures<Kept> + group * kTileFeatures<Kept> +
         n % kTileFeatures<Kept>;
}

// Where sums start, and scales with kMagic in them, of kTransposedRows features from n of a block.
// Out of line: with 16 registers its loop would be left one less than it needs.
template <class Kept>
HWY_NOINLINE void FinishBlock(const PanelBlock& block, size_t width, size_t n) {
  const DF d;
  const DI32 di;
  for (size_t i = n; i < n + kTransposedRows; i += kLanes) {
    const auto scales = hn::Load(d, block.scales + i);
    hn::Store(hn::Mul(scales, hn::Set(d, kMagic)), d, block.offsets + i);
    if constexpr (!kTakesBytes<Kept>) continue;
    auto sum = hn::Zero(di);
    const auto ones = hn::Set(di, 0x01010101);
    for (size_t group = 0; group < width / Kept::kPerDword; ++group) {
      const auto dwords = hn::Load(DU32(), PanelDwords<Kept>(block.values, width, i, group));
      Kept::AddProducts(sum, ones, hn::BitCast(di, dwords));
    }
    // x is 128 above its value, and the magic number makes the sum a float.
    hn::Store(hn::Sub(hn::BitCast(di, hn::Set(d, kMagic)), hn::ShiftLeft<7>(sum)), di,
              block.starts + i);
  }
}

// The block's bytes of kTransposedRows features, kScaleK apart, into the panel.
template <class Kept>
HWY_INLINE void PackBlock(const int8_t* bytes, const PanelBlock& block, size_t width, size_t n) {
  constexpr size_t kStepK = kLanes * Kept::kPerDword;
  const DU32 d;
  for (size_t k = 0; k < width; k += kStepK) {
    const auto load = [&](size_t feature) INGOT_UNROLLED {
      const int8_t* from = bytes + feature * kScaleK + k;
      if constexpr (kTakesBytes<Kept>) {
        return hn::Load(d, reinterpret_cast<const uint32_t*>(from));
      } else {
        const hn::ScalableTag<int16_t> di16;
        const hn::Rebind<int8_t, decltype(di16)> di8;
        return hn::BitCast(d, hn::PromoteTo(di16, hn::Load(di8, from)));
      }
    };
    TransposeDwords(load, PanelDwords<Kept>(block.values, width, n, k / Kept::kPerDword),
                    kTileFeatures<Kept>);
  }
  FinishBlock<Kept>(block, width, n);
}

template <class Kept>
PanelBlock BlockOf(const PanelBlock& panel, size_t block) {
  return {panel.values + block * kScaleK * kPanelFeatures * sizeof(typename Kept::Right),
          panel.starts + block * kPanelFeatures, panel.scales + block * kPanelFeatures,
          panel.offsets + block * kPanelFeatures};
}

// The panel of features from `feature` on; zeros behind the last feature and the last k.
// quantize(f, count, k, n, scales, bytes) quantizes [k, k + n) of `count` features from f on.
template <class Kept, class Quantize>
HWY_INLINE void PackPanel(const Int8Job& job, size_t feature, const PanelBlock& panel,
                          const Quantize& quantize) {
  alignas(64) int8_t bytes[kTransposedRows * kScaleK];
  for (size_t n = 0; n < kPanelFeatures; n += kTransposedRows) {
    const size_t end = std::min(job.call.num_features, feature + n + kTransposedRows);
    const size_t count = end - std::min(feature + n, end);
    for (size_t block = 0; block < job.layout.num_blocks; ++block) {
      const PanelBlock to = BlockOf<Kept>(panel, block);
      const size_t k = block * kScaleK, width = job.layout.width(block);
      const size_t num_k = std::min(width, job.layout.num_k - k);
      quantize(feature + n, count, k, num_k, to.scales + n, bytes);
      std::fill_n(to.scales + n + count, kTransposedRows - count, 0.0f);
      for (size_t i = 0; i < kTransposedRows; ++i) {
        const size_t filled = i < count ? num_k : 0;
        if (filled < width) std::memset(bytes + i * kScaleK + filled, 0, width - filled);
      }
      PackBlock<Kept>(bytes, to, width, n);
    }
  }
}

template <class Kept, class Format>
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
  PackPanel<Kept>(job, feature, panel, quantize);
}

template <class Kept>
void PackWeights(const Int8Job& job, size_t feature, const PanelBlock& panel) {
  const ConstTensorView& weight = job.call.weight;
  const bool done = blocks::WithFormat(
      weight.dtype, [&]<class Format>(Format) { PackFormat<Kept, Format>(job, feature, panel); });
  if (done) return;
  PackPanel<Kept>(job, feature, panel,
                  [&](size_t f, size_t count, size_t k, size_t n, float* scales, int8_t* bytes)
                      HWY_ATTR {
                        for (size_t i = 0; i < count; ++i) {
                          scales[i] = QuantizeRunOfF32(weight, f + i, k, n, bytes + i * kScaleK);
                        }
                      });
}

// The panel's weights of the outlier channels as a block of their own.
template <class Kept>
void GatherOutliers(const Int8Job& job, const Outliers& outliers, const PanelBlock& panel,
                    const PanelBlock& to) {
  const DF d;
  const DI32 di;
  constexpr int kBits = 8 * sizeof(typename Kept::Right);
  for (size_t n = 0; n < kPanelFeatures; n += kLanes) {
    hn::Vec<DF> max = hn::Zero(d);
    alignas(64) float weights[kMaxOutliers][kLanes];
    const auto value = [&](size_t i) INGOT_UNROLLED {
      const size_t channel = outliers.channels[i], block = channel / kScaleK;
      const size_t k = channel % kScaleK,
                   shift = kBits * (Kept::kPerDword - 1 - k % Kept::kPerDword);
      const PanelBlock from = BlockOf<Kept>(panel, block);
      const auto dwords =
          hn::BitCast(di, hn::Load(DU32(), PanelDwords<Kept>(from.values, job.layout.width(block),
                                                             n, k / Kept::kPerDword)));
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
    for (size_t group = 0; group < kMaxOutliers / Kept::kPerDword; ++group) {
      auto dwords = hn::Zero(di);
      for (size_t i = 0; i < Kept::kPerDword && group * Kept::kPerDword + i < outliers.count; ++i) {
        const auto w = hn::Load(d, weights[group * Kept::kPerDword + i]);
        const auto q = hn::Sub(hn::BitCast(di, hn::MulAdd(w, factor, hn::Set(d, kMagic))),
                               hn::BitCast(di, hn::Set(d, kMagic)));
        const auto bits = hn::And(q, hn::Set(di, static_cast<int32_t>((int64_t{1} << kBits) - 1)));
        dwords = hn::Or(dwords, hn::ShiftLeftSame(bits, static_cast<int>(kBits * i)));
      }
      hn::Store(hn::BitCast(DU32(), dwords), DU32(),
                PanelDwords<Kept>(to.values, kMaxOutliers, n, group));
    }
  }
  for (size_t n = 0; n < kPanelFeatures; n += kTransposedRows)
    FinishBlock<Kept>(to, kMaxOutliers, n);
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace ingot::cpu
HWY_AFTER_NAMESPACE();

#endif  // INGOT_DEVICES_CPU_LINEAR_INT8_PANEL_INL_H_
