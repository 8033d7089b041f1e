// The rows that a Linear multiplies, made from its operands by its prologue: the same bits on
// every x86 level, whatever part of a row is asked for. NaN and infinity go through.
#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstring>

#include "devices/cpu/linear_call.h"
#include "devices/cpu/moments-inl.h"
#include "devices/cpu/simd-inl.h"
#include "devices/cpu/unroll-inl.h"

// Read once per target of hwy/foreach_target.h, hence this toggle instead of #pragma once.
#if defined(INGOT_DEVICES_CPU_LINEAR_ROWS_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef INGOT_DEVICES_CPU_LINEAR_ROWS_INL_H_
#undef INGOT_DEVICES_CPU_LINEAR_ROWS_INL_H_
#else
#define INGOT_DEVICES_CPU_LINEAR_ROWS_INL_H_
#endif

HWY_BEFORE_NAMESPACE();
namespace ingot::cpu {
namespace HWY_NAMESPACE {

// (x - mean) * inv_std is the normalized row.
struct RowNorm {
  float mean = 0.0f, inv_std = 1.0f;
};

// Statistics of row `row` that its elements need; nothing is computed for a prologue without a
// norm.
inline RowNorm NormOfRow(const LinearCall& call, size_t row) {
  if (call.prologue != op::Prologue::kAdaLayerNorm) return {};
  const Moments moments = TakeMoments(call.x.Row(row), call.num_k);
  const double variance = moments.square_deviations / static_cast<double>(call.num_k);
  return {moments.mean, static_cast<float>(1.0 / std::sqrt(variance + call.eps))};
}

// out[i] = f(i, lanes): vectors of `lanes` elements, the last may be shorter.
template <class F>
HWY_INLINE void FillRow(size_t n, float* HWY_RESTRICT out, const F& f) {
  const hn::ScalableTag<float> d;
  size_t i = 0;
  for (; i + hn::Lanes(d) <= n; i += hn::Lanes(d)) {
    hn::StoreU(f([d, i](const float* from) { return hn::LoadU(d, from + i); }), d, out + i);
  }
  if (i == n) return;
  const auto mask = hn::FirstN(d, n - i);
  const auto load = [d, i, mask](const float* from) { return hn::MaskedLoad(mask, d, from + i); };
  hn::BlendedStore(f(load), mask, d, out + i);
}

// MakeRow with gelu(vector) for the GELU of the prologue.
template <class Gelu>
HWY_INLINE const float* MakeRowBy(const Gelu& gelu, const LinearCall& call, size_t row,
                                  RowNorm norm, size_t k, size_t n, float* HWY_RESTRICT buffer) {
  const hn::ScalableTag<float> d;
  const float* x = call.x.Row(row) + k;
  const auto fill = [&](const float* from, size_t count, float* to) {
    FillRow(count, to, [&](const auto& load) { return gelu(load(from)); });
  };
  switch (call.prologue) {
    case op::Prologue::kNone:
      return x;
    case op::Prologue::kAdaLayerNorm: {
      const size_t picture = row / call.rows_per_picture;
      const float* shift = call.shift.Row(picture) + k;
      const float* scale = call.scale.Row(picture) + k;
      const auto mean = hn::Set(d, norm.mean), inv_std = hn::Set(d, norm.inv_std);
      const auto one = hn::Set(d, 1.0f);
      FillRow(n, buffer, [&](const auto& load) {
        return hn::MulAdd(hn::Mul(hn::Sub(load(x), mean), inv_std), hn::Add(one, load(scale)),
                          load(shift));
      });
      return buffer;
    }
    case op::Prologue::kGeluTanh:
      fill(x, n, buffer);
      return buffer;
    case op::Prologue::kGatedGeluTanh: {
      const float* b = call.b.Row(row) + k;
      FillRow(n, buffer, [&](const auto& load) { return hn::Mul(gelu(load(x)), load(b)); });
      return buffer;
    }
    case op::Prologue::kConcatGeluTanh: {
      const size_t num_a = call.num_k - call.num_b;
      if (k + n <= num_a) return x;
      const size_t from_a = num_a - std::min(k, num_a);
      std::memcpy(buffer, x, from_a * sizeof(float));
      fill(call.b.Row(row) + (k + from_a - num_a), n - from_a, buffer + from_a);
      return buffer;
    }
  }
  return nullptr;
}

// Elements [k, k + n) of row `row`, in `buffer` [n] or, where the prologue leaves them as they are,
// in the operand.
inline const float* MakeRow(const LinearCall& call, size_t row, RowNorm norm, size_t k, size_t n,
                            float* HWY_RESTRICT buffer) {
  const hn::ScalableTag<float> d;
  const auto gelu = [d](auto x) INGOT_UNROLLED { return GeluTanh(d, x); };
  return MakeRowBy(gelu, call, row, norm, k, n, buffer);
}

// The same with a bound of |gelu(x)| in place of gelu(x), which costs an exponential: NaN may be
// lost.
inline const float* BoundRow(const LinearCall& call, size_t row, RowNorm norm, size_t k, size_t n,
                             float* HWY_RESTRICT buffer) {
  const hn::ScalableTag<float> d;
  // gelu(x) lies between 0 and x for x >= 0, and above -0.1701 elsewhere.
  const auto bound = [d](auto x) INGOT_UNROLLED { return hn::Max(x, hn::Set(d, 0.17f)); };
  return MakeRowBy(bound, call, row, norm, k, n, buffer);
}

}  // namespace HWY_NAMESPACE
}  // namespace ingot::cpu
HWY_AFTER_NAMESPACE();

#endif  // INGOT_DEVICES_CPU_LINEAR_ROWS_INL_H_
