// Channels of pixels in f32 or f16 as vectors of f32, and their group norm, compiled once per SIMD
// target.
#include <algorithm>
#include <cstddef>
#include <cstring>

#include "devices/cpu/pixels.h"

#if defined(INGOT_DEVICES_CPU_PIXELS_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef INGOT_DEVICES_CPU_PIXELS_INL_H_
#undef INGOT_DEVICES_CPU_PIXELS_INL_H_
#else
#define INGOT_DEVICES_CPU_PIXELS_INL_H_
#endif

#include "devices/cpu/simd-inl.h"

HWY_BEFORE_NAMESPACE();
namespace ingot::cpu {
namespace HWY_NAMESPACE {

// Elements [at, at + count) of the pixels; zeros in the other lanes. Reads no further.
template <class D>
HWY_INLINE hn::Vec<D> LoadChannels(D d, const Pixels& from, size_t at, size_t count) {
  const hn::Rebind<hwy::float16_t, D> half;
  const size_t lanes = hn::Lanes(d);
  if (!from.is_f16) {
    const float* x = reinterpret_cast<const float*>(from.data) + at;
    return count >= lanes ? hn::LoadU(d, x) : LoadFirst(d, x, count);
  }
  const hwy::float16_t* x = reinterpret_cast<const hwy::float16_t*>(from.data) + at;
  if (count >= lanes) return hn::PromoteTo(d, hn::LoadU(half, x));
  alignas(64) hwy::float16_t first[hn::MaxLanes(d)] = {};
  std::memcpy(first, x, count * sizeof(hwy::float16_t));
  return hn::PromoteTo(d, hn::Load(half, first));
}

// Writes the first `count` lanes to elements [at, at + count), rounded to nearest even in f16.
template <class D>
HWY_INLINE void StoreChannels(hn::Vec<D> v, D d, const MutablePixels& to, size_t at, size_t count) {
  const hn::Rebind<hwy::float16_t, D> half;
  const size_t lanes = hn::Lanes(d);
  if (!to.is_f16) {
    float* x = reinterpret_cast<float*>(to.data) + at;
    return count >= lanes ? hn::StoreU(v, d, x) : StoreFirst(v, d, x, count);
  }
  hwy::float16_t* x = reinterpret_cast<hwy::float16_t*>(to.data) + at;
  if (count >= lanes) return hn::StoreU(hn::DemoteTo(half, v), half, x);
  alignas(64) hwy::float16_t all[hn::MaxLanes(d)];
  hn::Store(hn::DemoteTo(half, v), half, all);
  std::memcpy(x, all, count * sizeof(hwy::float16_t));
}

// (x - mean) * scale + shift of the channels from `c` on.
template <class D, class V = hn::Vec<D>>
HWY_INLINE V Normalize(D d, V x, const ChannelNorm& norm, size_t c) {
  return hn::MulAdd(hn::Sub(x, hn::LoadU(d, norm.mean + c)), hn::LoadU(d, norm.scale + c),
                    hn::LoadU(d, norm.shift + c));
}

template <class D, class V = hn::Vec<D>>
HWY_INLINE V Silu(D d, V x) {
  return TimesSigmoid(d, x, hn::Neg(x));
}

}  // namespace HWY_NAMESPACE
}  // namespace ingot::cpu
HWY_AFTER_NAMESPACE();

#endif  // INGOT_DEVICES_CPU_PIXELS_INL_H_
