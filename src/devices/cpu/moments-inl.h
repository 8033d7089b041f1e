// Mean and deviations of a row of f32: the same bits on every x86 level.
#include <cstddef>

#include "devices/cpu/simd-inl.h"

// Read once per target of hwy/foreach_target.h, hence this toggle instead of #pragma once.
#if defined(INGOT_DEVICES_CPU_MOMENTS_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef INGOT_DEVICES_CPU_MOMENTS_INL_H_
#undef INGOT_DEVICES_CPU_MOMENTS_INL_H_
#else
#define INGOT_DEVICES_CPU_MOMENTS_INL_H_
#endif

HWY_BEFORE_NAMESPACE();
namespace ingot::cpu {
namespace HWY_NAMESPACE {

// A sum runs in this many lanes on every level: 4 zmm or 8 ymm, enough independent sums to hide
// the latency of additions.
inline constexpr size_t kVirtualLanes = 64;

// Adds up the virtual lanes: lane i and lane i + n/2, until one is left.
template <class D, size_t kVectors>
HWY_INLINE float SumOfLanes(D d, hn::Vec<D> (&sums)[kVectors]) {
  for (size_t half = kVectors / 2; half > 0; half /= 2) {
    for (size_t v = 0; v < half; ++v) sums[v] = hn::Add(sums[v], sums[v + half]);
  }
  alignas(64) float lanes[hn::MaxLanes(d)];
  hn::Store(sums[0], d, lanes);
  for (size_t half = hn::MaxLanes(d) / 2; half > 0; half /= 2) {
    for (size_t i = 0; i < half; ++i) lanes[i] += lanes[i + half];
  }
  return lanes[0];
}

// The sum that step(sum, x) gives over x[0, n).
template <class D, class Step>
HWY_INLINE float Sum(D d, const float* x, size_t n, const Step& step) {
  const size_t lanes = hn::Lanes(d);
  constexpr size_t kVectors = kVirtualLanes / hn::MaxLanes(d);
  hn::Vec<D> sums[kVectors];
  for (auto& sum : sums) sum = hn::Zero(d);
  size_t i = 0;
  for (; i + kVirtualLanes <= n; i += kVirtualLanes) {
    for (size_t v = 0; v < kVectors; ++v) sums[v] = step(sums[v], hn::LoadU(d, x + i + v * lanes));
  }
  for (size_t v = 0; v < kVectors; ++v, i += lanes) {
    if (i >= n) continue;
    const auto mask = hn::FirstN(d, n - i);
    sums[v] = hn::IfThenElse(mask, step(sums[v], hn::MaskedLoad(mask, d, x + i)), sums[v]);
  }
  return SumOfLanes(d, sums);
}

struct Moments {
  float mean;
  float square_deviations;  // sum of (x - mean)^2
};

inline Moments TakeMoments(const float* x, size_t n) {
  const hn::ScalableTag<float> d;
  using V = hn::Vec<decltype(d)>;
  const float mean = Sum(d, x, n, [](V s, V v) { return hn::Add(s, v); }) / static_cast<float>(n);
  const V center = hn::Set(d, mean);
  return {mean, Sum(d, x, n, [&](V s, V v) {
            const V deviation = hn::Sub(v, center);
            return hn::MulAdd(deviation, deviation, s);
          })};
}

}  // namespace HWY_NAMESPACE
}  // namespace ingot::cpu
HWY_AFTER_NAMESPACE();

#endif  // INGOT_DEVICES_CPU_MOMENTS_INL_H_
