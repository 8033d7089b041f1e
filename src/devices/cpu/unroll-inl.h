// Loops over constants, for arrays of vectors that must stay in registers.
#include <cstddef>
#include <type_traits>
#include <utility>

#include <hwy/highway.h>

// Read once per target of hwy/foreach_target.h, hence this toggle instead of #pragma once.
#if defined(INGOT_DEVICES_CPU_UNROLL_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef INGOT_DEVICES_CPU_UNROLL_INL_H_
#undef INGOT_DEVICES_CPU_UNROLL_INL_H_
#else
#define INGOT_DEVICES_CPU_UNROLL_INL_H_
#endif

// Of a lambda that vectors are given to.
#ifndef INGOT_UNROLLED
#define INGOT_UNROLLED HWY_ATTR __attribute__((always_inline))
#endif

HWY_BEFORE_NAMESPACE();
namespace ingot::cpu {
namespace HWY_NAMESPACE {

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
}  // namespace HWY_NAMESPACE
}  // namespace ingot::cpu
HWY_AFTER_NAMESPACE();

#endif  // INGOT_DEVICES_CPU_UNROLL_INL_H_
