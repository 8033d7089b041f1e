// Runs of a weight's row as f32, in vectors: the values of tensor/codec.h.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "devices/cpu/block_values-inl.h"
#include "devices/cpu/simd-inl.h"
#include "tensor/dtype.h"
#include "tensor/view.h"

// Read once per target of hwy/foreach_target.h, hence this toggle instead of #pragma once.
#if defined(INGOT_DEVICES_CPU_DEQUANTIZE_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef INGOT_DEVICES_CPU_DEQUANTIZE_INL_H_
#undef INGOT_DEVICES_CPU_DEQUANTIZE_INL_H_
#else
#define INGOT_DEVICES_CPU_DEQUANTIZE_INL_H_
#endif

HWY_BEFORE_NAMESPACE();
namespace ingot::cpu {
namespace HWY_NAMESPACE {

// out[i] = value of element i of `num_blocks` blocks, at most 256 elements.
template <class Format>
void DequantizeBlocks(const uint8_t* block, size_t num_blocks, float* out) {
  using namespace blocks;
  constexpr size_t kSubBlocks = Format::kSubBlocks, kHalves = kSubBlocks / 8;
  const Factors<kSubBlocks> factors = Format::GetFactors(block, num_blocks);
  alignas(32) float a[kSubBlocks], b[kSubBlocks];
  const auto unshift = hn::Set(kF32, 1.0f / (1 << Format::kShift));
  for (size_t i = 0; i < kHalves; ++i) {
    hn::Store(hn::Mul(factors.a[i], unshift), kF32, a + 8 * i);
    hn::Store(factors.b[i], kF32, b + 8 * i);
  }
  const auto store16 = [&](I16x16 v, size_t sub_block, float* to) {
    const hn::Half<decltype(kI16)> half;
    const auto store8 = [&](auto v8, float* to8) {
      const auto value = hn::ConvertTo(kF32, hn::PromoteTo(kI32, v8));
      const auto product = hn::Mul(hn::Set(kF32, a[sub_block]), value);
      hn::StoreU(hn::Sub(product, hn::Set(kF32, b[sub_block])), kF32, to8);
    };
    store8(hn::LowerHalf(half, v), to);
    store8(hn::UpperHalf(half, v), to + 8);
  };
  for (size_t j = 0; j < num_blocks * Format::kBlockK / 32; ++j) {
    const Values32 values = Format::Values(block, j);
    store16(values.low, j * kHalves, out + 32 * j);
    store16(values.high, j * kHalves + kHalves - 1, out + 32 * j + 16);
  }
}

// out[i] = widen(i), vectors of i, for i < count; count is a multiple of 16.
template <class Widen>
HWY_INLINE void WidenAll(size_t count, float* out, const Widen& widen) {
  const hn::ScalableTag<float> d;
  for (size_t i = 0; i < count; i += hn::Lanes(d)) hn::StoreU(widen(i), d, out + i);
}

// `count` numbers of a plain type, a multiple of 16.
inline void DequantizeNumbers(DType dtype, const std::byte* in, size_t count, float* out) {
  const hn::ScalableTag<float> d;
  const hn::RebindToUnsigned<decltype(d)> du32;
  const hn::Rebind<uint16_t, decltype(d)> du16;
  const hn::Rebind<hwy::float16_t, decltype(d)> df16;
  const hn::Rebind<uint8_t, decltype(d)> du8;
  const auto* bytes = reinterpret_cast<const uint8_t*>(in);
  const auto load16 = [&](size_t i) {
    return hn::LoadU(du16, reinterpret_cast<const uint16_t*>(bytes + 2 * i));
  };
  const auto load8 = [&](size_t i) { return hn::PromoteTo(du16, hn::LoadU(du8, bytes + i)); };
  switch (dtype) {
    case DType::kF32:
      std::memcpy(out, in, count * sizeof(float));
      return;
    case DType::kF16:
      return WidenAll(count, out,
                      [&](size_t i) { return hn::PromoteTo(d, hn::BitCast(df16, load16(i))); });
    case DType::kBF16:
      return WidenAll(count, out, [&](size_t i) {
        return hn::BitCast(d, hn::ShiftLeft<16>(hn::PromoteTo(du32, load16(i))));
      });
    case DType::kF8E5M2:  // the upper byte of an f16
      return WidenAll(count, out, [&](size_t i) {
        return hn::PromoteTo(d, hn::BitCast(df16, hn::ShiftLeft<8>(load8(i))));
      });
    case DType::kF8E4M3:  // an f16 with an exponent 8 lower, but for NaN, which would be 480
      return WidenAll(count, out, [&](size_t i) {
        const auto byte = load8(i);
        const auto half = hn::Or(hn::ShiftLeft<7>(hn::And(byte, hn::Set(du16, 0x7F))),
                                 hn::ShiftLeft<8>(hn::And(byte, hn::Set(du16, 0x80))));
        const auto v = hn::Mul(hn::PromoteTo(d, hn::BitCast(df16, half)), hn::Set(d, 256.0f));
        return hn::IfThenElse(hn::Eq(hn::Abs(v), hn::Set(d, 480.0f)), hn::NaN(d), v);
      });
    default:
      INGOT_CHECK(false);  // not a type of weights
  }
}

// A weight [rows, K] as runs of 256 elements, the last of a row may be shorter; weight.scale is
// left to the caller.
class WeightRuns {
 public:
  explicit WeightRuns(const ConstTensorView& weight)
      : dtype_(weight.dtype),
        data_(weight.data),
        num_k_(static_cast<size_t>(weight.shape[1])),
        row_bytes_(BytesOf(num_k_)),
        run_bytes_(BytesOf(kElements)) {}

  // Elements of run `run` of row `row`, then zeros up to a multiple of 32.
  void Dequantize(size_t row, size_t run, float* out) const {
    const std::byte* in = At(row, run);
    const size_t n = std::min(kElements, num_k_ - run * kElements);
    const bool is_blocks = blocks::WithFormat(dtype_, [&]<class Format>(Format) {
      DequantizeBlocks<Format>(reinterpret_cast<const uint8_t*>(in), n / Format::kBlockK, out);
    });
    if (is_blocks) return;
    const size_t count = hwy::RoundUpTo(n, size_t{32});
    alignas(64) std::byte padded[kElements * sizeof(float)];
    if (count != n) {
      std::memcpy(padded, in, BytesOf(n));
      std::memset(padded + BytesOf(n), 0, BytesOf(count) - BytesOf(n));
      in = padded;
    }
    DequantizeNumbers(dtype_, in, count, out);
  }

  // Fetches the run; past the weight's end it has no effect.
  void Prefetch(size_t row, size_t run) const {
    const std::byte* in = At(row, run);
    for (size_t i = 0; i < run_bytes_; i += 64) __builtin_prefetch(in + i);
  }

 private:
  static constexpr size_t kElements = 256;

  size_t BytesOf(size_t num_elements) const {
    const DTypeInfo& info = Info(dtype_);
    return num_elements / static_cast<size_t>(info.block_elements) *
           static_cast<size_t>(info.block_bytes);
  }
  const std::byte* At(size_t row, size_t run) const {
    return data_ + row * row_bytes_ + run * run_bytes_;
  }

  DType dtype_;
  const std::byte* data_;
  size_t num_k_, row_bytes_, run_bytes_;
};

}  // namespace HWY_NAMESPACE
}  // namespace ingot::cpu
HWY_AFTER_NAMESPACE();

#endif  // INGOT_DEVICES_CPU_DEQUANTIZE_INL_H_
