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

// x * sigmoid(z), given -z.
template <class D, class V = hn::Vec<D>>
HWY_INLINE V TimesSigmoid(D d, V x, V minus_z) {
  return hn::Div(x, hn::Add(hn::Set(d, 1.0f), Exp(d, minus_z)));
}

// 0.5 x (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3))) = x * sigmoid(2 sqrt(2/pi) (x + 0.044715 x^3))
template <class D, class V = hn::Vec<D>>
HWY_INLINE V GeluTanh(D d, V x) {
  // 2 sqrt(2/pi) and 0.044715 of it
  constexpr float kFactor1 = 1.5957691216057308f, kFactor3 = 0.07135481627260025f;
  const V factor = hn::NegMulAdd(hn::Mul(x, x), hn::Set(d, kFactor3), hn::Set(d, -kFactor1));
  return TimesSigmoid(d, x, hn::Mul(x, factor));
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
