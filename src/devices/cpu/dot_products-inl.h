// Products of small integers added up in 32 bits: the instructions that the integer kernels stand
// on.
//
// In assembler: from intrinsics g++ 12 makes copies and spills of the sums, at up to half the
// speed.
#include <cstddef>
#include <cstdint>

#include "devices/cpu/cpu_target.h"
#include "devices/cpu/simd-inl.h"

// Read once per target of hwy/foreach_target.h, hence this toggle instead of #pragma once.
#if defined(INGOT_DEVICES_CPU_DOT_PRODUCTS_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef INGOT_DEVICES_CPU_DOT_PRODUCTS_INL_H_
#undef INGOT_DEVICES_CPU_DOT_PRODUCTS_INL_H_
#else
#define INGOT_DEVICES_CPU_DOT_PRODUCTS_INL_H_
#endif

HWY_BEFORE_NAMESPACE();
namespace ingot::cpu {
namespace HWY_NAMESPACE {

using DotSums = hn::Vec<hn::ScalableTag<int32_t>>;

// What both sides of a product are kept as: dwords of kPerDword neighbouring numbers, which one
// instruction multiplies and adds to sums. In 8 bits as bytes, at the levels that have products of
// bytes.
struct Words {
  using Left = int16_t;
  using Right = int16_t;
  static constexpr size_t kPerDword = 2;

  // sum += a0 b0 + a1 b1 of each dword.
  static HWY_INLINE void AddProducts(DotSums& sum, DotSums a, DotSums b) {
#if HWY_TARGET <= HWY_AVX3_DL
    asm("vpdpwssd %2, %1, %0" : "+v"(sum.raw) : "v"(a.raw), "v"(b.raw));
#else
    DotSums products;
    asm("vpmaddwd %3, %2, %1\n\tvpaddd %1, %0, %0"
        : "+v"(sum.raw), "=&v"(products.raw)
        : "v"(a.raw), "v"(b.raw));
#endif
  }
};

struct Bytes {
  using Left = uint8_t;  // the number + 128
  using Right = int8_t;
  static constexpr size_t kPerDword = 4;

  // sum += a0 b0 + a1 b1 + a2 b2 + a3 b3 of each dword.
  static HWY_INLINE void AddProducts(DotSums& sum, DotSums a, DotSums b) {
#if HWY_TARGET == HWY_AVX2
    asm("%{vex%} vpdpbusd %2, %1, %0" : "+x"(sum.raw) : "x"(a.raw), "x"(b.raw));
#else
    asm("vpdpbusd %2, %1, %0" : "+v"(sum.raw) : "v"(a.raw), "v"(b.raw));
#endif
  }
};

// run(Bytes()) at the levels AVX_VNNI, AVX3_DL and AMX, else run(Words()).
template <class Run>
HWY_INLINE auto WithKept8(const Run& run) {
  const bool has_bytes = HWY_TARGET == HWY_AVX2 ? UsesAvxVnni() : HWY_TARGET <= HWY_AVX3_DL;
  return has_bytes ? run(Bytes()) : run(Words());
}

}  // namespace HWY_NAMESPACE
}  // namespace ingot::cpu
HWY_AFTER_NAMESPACE();

#endif  // INGOT_DEVICES_CPU_DOT_PRODUCTS_INL_H_
