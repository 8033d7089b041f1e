// exp, and loads and stores of part of a vector, on SIMD vectors of f32: the same
// bits on every x86 level.
#include <hwy/highway.h>

// Read once per target of hwy/foreach_target.h, hence this toggle instead of #pragma once.
#if defined(INGOT_DEVICES_CPU_SIMD_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef INGOT_DEVICES_CPU_SIMD_INL_H_
#undef INGOT_DEVICES_CPU_SIMD_INL_H_
#else
#define INGOT_DEVICES_CPU_SIMD_INL_H_
#endif

HWY_BEFORE_NAMESPACE();
namespace ingot::cpu {
namespace HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;

// e^x within 2 units of the last place; 0 below -87.33 (where the result would
// be subnormal), infinity above 88.37, NaN for NaN.
// x = n ln 2 + r, |r| <= ln 2 / 2; e^r by the polynomial of Cephes expf.
template <class D, class V = hn::Vec<D>>
HWY_INLINE V Exp(D d, V x) {
  const hn::RebindToSigned<D> di;
  const V lowest = hn::Set(d, -87.33f);
  const V highest = hn::Set(d, 88.37f);
  // Only n is clamped: a NaN goes on into r and the result.
  const V n =
      hn::Round(hn::Mul(hn::Min(hn::Max(x, lowest), highest), hn::Set(d, 1.44269504088896341f)));
  V r = hn::NegMulAdd(n, hn::Set(d, 0.693359375f), x);  // exact: the constant has 9 bits
  r = hn::NegMulAdd(n, hn::Set(d, -2.12194440e-4f), r);
  V p = hn::Set(d, 1.9875691500e-4f);
  p = hn::MulAdd(p, r, hn::Set(d, 1.3981999507e-3f));
  p = hn::MulAdd(p, r, hn::Set(d, 8.3334519073e-3f));
  p = hn::MulAdd(p, r, hn::Set(d, 4.1665795894e-2f));
  p = hn::MulAdd(p, r, hn::Set(d, 1.6666665459e-1f));
  p = hn::MulAdd(p, r, hn::Set(d, 5.0000001201e-1f));
  p = hn::Add(hn::MulAdd(p, hn::Mul(r, r), r), hn::Set(d, 1.0f));
  const auto exponent = hn::Add(hn::ConvertTo(di, n), hn::Set(di, 127));
  const V y = hn::Mul(p, hn::BitCast(d, hn::ShiftLeft<23>(exponent)));
  const V bounded = hn::IfThenElse(hn::Gt(x, highest), hn::Inf(d), y);
  return hn::IfThenZeroElse(hn::Lt(x, lowest), bounded);
}

// The first `count` lanes from memory, zeros in the others. Reads no further.
template <class D>
HWY_INLINE hn::Vec<D> LoadFirst(D d, const float* from, size_t count) {
  return hn::MaskedLoad(hn::FirstN(d, count), d, from);
}

// Writes the first `count` lanes and nothing beyond.
template <class D>
HWY_INLINE void StoreFirst(hn::Vec<D> v, D d, float* to, size_t count) {
  hn::BlendedStore(v, hn::FirstN(d, count), d, to);
}

}  // namespace HWY_NAMESPACE
}  // namespace ingot::cpu
HWY_AFTER_NAMESPACE();

#endif  // INGOT_DEVICES_CPU_SIMD_INL_H_
