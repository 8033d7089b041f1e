// The block formats of GGUF in vectors: a run of up to 256 weights of one row as integers v and
// factors a, b with weight = a * v - b, for the paths that go on to f32 or to int8.
//
// Layouts: tensor/dequantize.cc, which stays the definition. Vectors are ymm on every x86 level:
// the decoding is loads and shuffles, and zmm gain nothing.
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "devices/cpu/simd-inl.h"
#include "devices/cpu/unroll-inl.h"
#include "tensor/dtype.h"

// Read once per target of hwy/foreach_target.h, hence this toggle instead of #pragma once.
#if defined(INGOT_DEVICES_CPU_BLOCK_VALUES_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef INGOT_DEVICES_CPU_BLOCK_VALUES_INL_H_
#undef INGOT_DEVICES_CPU_BLOCK_VALUES_INL_H_
#else
#define INGOT_DEVICES_CPU_BLOCK_VALUES_INL_H_
#endif

HWY_BEFORE_NAMESPACE();
namespace ingot::cpu {
namespace HWY_NAMESPACE {
namespace blocks {

inline constexpr size_t kRunK = 256;

inline constexpr hn::CappedTag<float, 8> kF32;
inline constexpr hn::CappedTag<int32_t, 8> kI32;
inline constexpr hn::CappedTag<int16_t, 16> kI16;
inline constexpr hn::CappedTag<uint8_t, 16> kU8;
inline constexpr hn::CappedTag<int8_t, 16> kI8;
using F32x8 = hn::Vec<decltype(kF32)>;
using I32x8 = hn::Vec<decltype(kI32)>;
using I16x16 = hn::Vec<decltype(kI16)>;

// Factors of a run's sub-blocks, kSubBlocks (8 of 32 or 16 of 16 weights) of them in order.
template <size_t kSubBlocks>
struct Factors {
  F32x8 a[kSubBlocks / 8], b[kSubBlocks / 8];
};

// Weights [0, 16) and [16, 32) of 32.
struct Values32 {
  I16x16 low, high;
};

HWY_INLINE uint32_t LoadBits32(const uint8_t* from) {
  uint32_t bits;
  std::memcpy(&bits, from, sizeof bits);
  return bits;
}

HWY_INLINE uint16_t LoadBits16(const uint8_t* from) {
  uint16_t bits;
  std::memcpy(&bits, from, sizeof bits);
  return bits;
}

// The f16 at `offset` of each of `num_blocks` <= 8 blocks; zeros behind the last. Put together in
// registers: a vector load of what scalar stores just wrote waits until they are in the cache.
HWY_INLINE F32x8 LoadF16(const uint8_t* block, size_t block_bytes, size_t offset,
                         size_t num_blocks) {
  uint64_t words[2] = {};
  const auto take = [&](size_t i) HWY_ATTR {
    const uint64_t bits = LoadBits16(block + i * block_bytes + offset);
    words[i / 4] |= bits << (16 * (i % 4));
  };
  if (HWY_LIKELY(num_blocks == 8)) {
    Unroll<8>([&](auto i) INGOT_UNROLLED { take(i); });
  } else {
    for (size_t i = 0; i < num_blocks; ++i) take(i);
  }
  const hn::CappedTag<uint64_t, 2> du64;
  const hn::CappedTag<hwy::float16_t, 8> df16;
  const auto low = hn::Set(du64, words[0]), high = hn::Set(du64, words[1]);
  return hn::PromoteTo(kF32, hn::BitCast(df16, hn::InterleaveLower(low, high)));
}

HWY_INLINE F32x8 SetF16(const uint8_t* from) {
  const hn::CappedTag<uint16_t, 8> du;
  const hn::CappedTag<hwy::float16_t, 8> df16;
  return hn::PromoteTo(kF32, hn::BitCast(df16, hn::Set(du, LoadBits16(from))));
}

HWY_INLINE F32x8 ToF32(I32x8 v) { return hn::ConvertTo(kF32, v); }

// 16 bytes in lanes of 16 bits.
HWY_INLINE I16x16 LoadU8(const uint8_t* from) { return hn::PromoteTo(kI16, hn::LoadU(kU8, from)); }
HWY_INLINE I16x16 LoadI8(const uint8_t* from) {
  return hn::PromoteTo(kI16, hn::LoadU(kI8, reinterpret_cast<const int8_t*>(from)));
}
HWY_INLINE I32x8 LoadU8x8(const uint8_t* from) {
  const hn::CappedTag<uint8_t, 8> du8;
  return hn::PromoteTo(kI32, hn::LoadU(du8, from));
}
HWY_INLINE I32x8 LoadI8x8(const uint8_t* from) {
  const hn::CappedTag<int8_t, 8> di8;
  return hn::PromoteTo(kI32, hn::LoadU(di8, reinterpret_cast<const int8_t*>(from)));
}

// Bits of v moved up by `count`, those of `mask` kept.
HWY_INLINE I16x16 Field(I16x16 v, int count, int16_t mask) {
  return hn::And(hn::ShiftLeftSame(v, count), hn::Set(kI16, mask));
}

// The nibbles of 16 bytes: low ones first, moved to bit `kShift`.
template <int kShift>
HWY_INLINE Values32 Nibbles(const uint8_t* from) {
  const I16x16 bytes = LoadU8(from);
  const I16x16 mask = hn::Set(kI16, static_cast<int16_t>(15 << kShift));
  return {hn::And(hn::ShiftLeft<kShift>(bytes), mask),
          hn::And(hn::ShiftLeft<kShift - 4>(bytes), mask)};
}

// Where bit i of 16 is set: `value`.
HWY_INLINE I16x16 WhereSet(uint32_t bits, int16_t value) {
  alignas(32) static constexpr uint16_t kBits[16] = {
      1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384, 32768};
  const I16x16 bit = hn::Load(kI16, reinterpret_cast<const int16_t*>(kBits));
  const I16x16 set = hn::And(hn::Set(kI16, static_cast<int16_t>(bits & 0xFFFF)), bit);
  return hn::And(hn::VecFromMask(kI16, hn::Eq(set, bit)), hn::Set(kI16, value));
}

// Each format:
//   kBlockK, kBlockBytes; kSubBlocks factors a run of 256
//   kShift: Values gives v << kShift
//   GetFactors(block, num_blocks); Values(block, j): weights [32 j, 32 j + 32) of a run
//   Largest(a, b): a bound of |a * v - b| over the format's v

template <int kSize>
HWY_INLINE F32x8 LargestOf(F32x8 a, F32x8 b) {  // v in [0, kSize)
  const F32x8 last = hn::Sub(hn::Mul(a, hn::Set(kF32, kSize - 1)), b);
  return hn::Max(hn::Abs(b), hn::Abs(last));
}

struct Q4_0 {
  static constexpr size_t kBlockK = 32, kBlockBytes = 18, kSubBlocks = 8;
  static constexpr int kShift = 11;
  static Factors<8> GetFactors(const uint8_t* block, size_t num_blocks) {
    const F32x8 d = LoadF16(block, kBlockBytes, 0, num_blocks);
    return {{d}, {hn::Mul(d, hn::Set(kF32, 8.0f))}};
  }
  static Values32 Values(const uint8_t* block, size_t j) {
    return Nibbles<kShift>(block + j * kBlockBytes + 2);
  }
  static F32x8 Largest(F32x8, F32x8 b) { return hn::Abs(b); }
};

struct Q4_1 {
  static constexpr size_t kBlockK = 32, kBlockBytes = 20, kSubBlocks = 8;
  static constexpr int kShift = 11;
  static Factors<8> GetFactors(const uint8_t* block, size_t num_blocks) {
    return {{LoadF16(block, kBlockBytes, 0, num_blocks)},
            {hn::Neg(LoadF16(block, kBlockBytes, 2, num_blocks))}};
  }
  static Values32 Values(const uint8_t* block, size_t j) {
    return Nibbles<kShift>(block + j * kBlockBytes + 4);
  }
  static F32x8 Largest(F32x8 a, F32x8 b) { return LargestOf<16>(a, b); }
};

// Nibbles with a fifth bit each from `high`.
HWY_INLINE Values32 FiveBits(const uint8_t* high, const uint8_t* nibbles) {
  constexpr int kShift = 10;
  constexpr int16_t kFifth = 16 << kShift;
  const uint32_t bits = LoadBits32(high);
  const Values32 v = Nibbles<kShift>(nibbles);
  return {hn::Or(v.low, WhereSet(bits, kFifth)), hn::Or(v.high, WhereSet(bits >> 16, kFifth))};
}

struct Q5_0 {
  static constexpr size_t kBlockK = 32, kBlockBytes = 22, kSubBlocks = 8;
  static constexpr int kShift = 10;
  static Factors<8> GetFactors(const uint8_t* block, size_t num_blocks) {
    const F32x8 d = LoadF16(block, kBlockBytes, 0, num_blocks);
    return {{d}, {hn::Mul(d, hn::Set(kF32, 16.0f))}};
  }
  static Values32 Values(const uint8_t* block, size_t j) {
    const uint8_t* in = block + j * kBlockBytes;
    return FiveBits(in + 2, in + 6);
  }
  static F32x8 Largest(F32x8, F32x8 b) { return hn::Abs(b); }
};

struct Q5_1 {
  static constexpr size_t kBlockK = 32, kBlockBytes = 24, kSubBlocks = 8;
  static constexpr int kShift = 10;
  static Factors<8> GetFactors(const uint8_t* block, size_t num_blocks) {
    return {{LoadF16(block, kBlockBytes, 0, num_blocks)},
            {hn::Neg(LoadF16(block, kBlockBytes, 2, num_blocks))}};
  }
  static Values32 Values(const uint8_t* block, size_t j) {
    const uint8_t* in = block + j * kBlockBytes;
    return FiveBits(in + 4, in + 8);
  }
  static F32x8 Largest(F32x8 a, F32x8 b) { return LargestOf<32>(a, b); }
};

struct Q8_0 {
  static constexpr size_t kBlockK = 32, kBlockBytes = 34, kSubBlocks = 8;
  static constexpr int kShift = 8;
  static Factors<8> GetFactors(const uint8_t* block, size_t num_blocks) {
    return {{LoadF16(block, kBlockBytes, 0, num_blocks)}, {hn::Zero(kF32)}};
  }
  static Values32 Values(const uint8_t* block, size_t j) {
    const uint8_t* in = block + j * kBlockBytes + 2;
    return {hn::ShiftLeft<kShift>(LoadI8(in)), hn::ShiftLeft<kShift>(LoadI8(in + 16))};
  }
  static F32x8 Largest(F32x8 a, F32x8) { return hn::Mul(hn::Abs(a), hn::Set(kF32, 127.0f)); }
};

// 16 nibbles' values of the table of IQ4_NL and IQ4_XS (ggml-common.h, kvalues_iq4nl), times 256.
HWY_INLINE Values32 TableOfNibbles(const uint8_t* from) {
  alignas(16) static constexpr int8_t kTable[16] = {-127, -104, -83, -65, -49, -35, -22, -10,
                                                    1,    13,   25,  38,  53,  69,  89,  113};
  const auto table = hn::Load(kI8, kTable);
  const auto bytes = hn::LoadU(kU8, from);
  const auto mask = hn::Set(kU8, 15);
  const auto value = [&](auto nibbles) {
    const auto v = hn::TableLookupBytes(table, hn::BitCast(kI8, nibbles));
    return hn::ShiftLeft<8>(hn::PromoteTo(kI16, v));
  };
  return {value(hn::And(bytes, mask)), value(hn::ShiftRight<4>(bytes))};
}

struct IQ4_NL {
  static constexpr size_t kBlockK = 32, kBlockBytes = 18, kSubBlocks = 8;
  static constexpr int kShift = 8;
  static Factors<8> GetFactors(const uint8_t* block, size_t num_blocks) {
    return {{LoadF16(block, kBlockBytes, 0, num_blocks)}, {hn::Zero(kF32)}};
  }
  static Values32 Values(const uint8_t* block, size_t j) {
    return TableOfNibbles(block + j * kBlockBytes + 2);
  }
  static F32x8 Largest(F32x8 a, F32x8) { return hn::Mul(hn::Abs(a), hn::Set(kF32, 127.0f)); }
};

struct IQ4_XS {
  static constexpr size_t kBlockK = 256, kBlockBytes = 136, kSubBlocks = 8;
  static constexpr int kShift = 8;
  static Factors<8> GetFactors(const uint8_t* block, size_t) {
    const I32x8 index = hn::Iota(kI32, 0);
    const I32x8 low = hn::Set(kI32, static_cast<int32_t>(LoadBits32(block + 4)));
    const I32x8 high = hn::Set(kI32, LoadBits16(block + 2));
    const I32x8 low4 = hn::And(hn::Shr(low, hn::ShiftLeft<2>(index)), hn::Set(kI32, 15));
    const I32x8 high2 = hn::And(hn::Shr(high, hn::Add(index, index)), hn::Set(kI32, 3));
    const I32x8 scale = hn::Sub(hn::Or(low4, hn::ShiftLeft<4>(high2)), hn::Set(kI32, 32));
    return {{hn::Mul(SetF16(block), ToF32(scale))}, {hn::Zero(kF32)}};
  }
  static Values32 Values(const uint8_t* block, size_t j) {
    return TableOfNibbles(block + 8 + j * 16);
  }
  static F32x8 Largest(F32x8 a, F32x8) { return hn::Mul(hn::Abs(a), hn::Set(kF32, 127.0f)); }
};

struct Q2_K {
  static constexpr size_t kBlockK = 256, kBlockBytes = 84, kSubBlocks = 16;
  static constexpr int kShift = 13;
  static Factors<16> GetFactors(const uint8_t* block, size_t) {
    const F32x8 d = SetF16(block + 80), dmin = SetF16(block + 82);
    Factors<16> f;
    for (size_t i = 0; i < 2; ++i) {
      const I32x8 bytes = LoadU8x8(block + 8 * i);
      f.a[i] = hn::Mul(d, ToF32(hn::And(bytes, hn::Set(kI32, 15))));
      f.b[i] = hn::Mul(dmin, ToF32(hn::ShiftRight<4>(bytes)));
    }
    return f;
  }
  static Values32 Values(const uint8_t* block, size_t j) {
    const uint8_t* in = block + 16 + j / 4 * 32;
    const int shift = kShift - 2 * static_cast<int>(j % 4);
    return {Field(LoadU8(in), shift, 3 << kShift), Field(LoadU8(in + 16), shift, 3 << kShift)};
  }
  static F32x8 Largest(F32x8 a, F32x8 b) { return LargestOf<4>(a, b); }
};

struct Q3_K {
  static constexpr size_t kBlockK = 256, kBlockBytes = 110, kSubBlocks = 16;
  static constexpr int kShift = 12;
  static Factors<16> GetFactors(const uint8_t* block, size_t) {
    const F32x8 d = SetF16(block + 108);
    const I32x8 low = LoadU8x8(block + 96);
    const I32x8 high = hn::Set(kI32, static_cast<int32_t>(LoadBits32(block + 104)));
    // Scale j takes byte j % 4 of `high`, bits 2 (j / 4).
    alignas(32) static constexpr int32_t kShifts[8] = {0, 8, 16, 24, 2, 10, 18, 26};
    const I32x8 high2 = hn::Shr(high, hn::Load(kI32, kShifts));
    const auto factor = [&](I32x8 low4, I32x8 high_bits) {
      const I32x8 scale = hn::Or(hn::And(low4, hn::Set(kI32, 15)),
                                 hn::ShiftLeft<4>(hn::And(high_bits, hn::Set(kI32, 3))));
      return hn::Mul(d, ToF32(hn::Sub(scale, hn::Set(kI32, 32))));
    };
    return {{factor(low, high2), factor(hn::ShiftRight<4>(low), hn::ShiftRight<4>(high2))},
            {hn::Zero(kF32), hn::Zero(kF32)}};
  }
  static Values32 Values(const uint8_t* block, size_t j) {
    const uint8_t* in = block + 32 + j / 4 * 32;
    const int shift = kShift - 2 * static_cast<int>(j % 4);
    const I16x16 four = hn::Set(kI16, 4 << kShift);
    const auto value = [&](size_t i) {
      const I16x16 low = Field(LoadU8(in + i), shift, 3 << kShift);
      const I16x16 high = Field(LoadU8(block + i), kShift + 2 - static_cast<int>(j), 4 << kShift);
      return hn::Sub(hn::Or(low, high), four);
    };
    return {value(0), value(16)};
  }
  static F32x8 Largest(F32x8 a, F32x8) { return hn::Mul(hn::Abs(a), hn::Set(kF32, 4.0f)); }
};

// Factors of Q4_K and Q5_K: 6-bit scales and mins in 12 bytes.
HWY_INLINE Factors<8> ScalesAndMins(const uint8_t* block) {
  const uint32_t s0 = LoadBits32(block + 4), s1 = LoadBits32(block + 8);
  const uint32_t s2 = LoadBits32(block + 12);
  alignas(16)
      const uint32_t scales[2] = {s0 & 0x3F3F3F3F, (s2 & 0x0F0F0F0F) | (s0 >> 6 & 0x03030303) << 4};
  alignas(16) const uint32_t mins[2] = {s1 & 0x3F3F3F3F,
                                        (s2 >> 4 & 0x0F0F0F0F) | (s1 >> 6 & 0x03030303) << 4};
  const auto times = [](F32x8 d, const uint32_t* bytes) {
    return hn::Mul(d, ToF32(LoadU8x8(reinterpret_cast<const uint8_t*>(bytes))));
  };
  return {{times(SetF16(block), scales)}, {times(SetF16(block + 2), mins)}};
}

struct Q4_K {
  static constexpr size_t kBlockK = 256, kBlockBytes = 144, kSubBlocks = 8;
  static constexpr int kShift = 11;
  static Factors<8> GetFactors(const uint8_t* block, size_t) { return ScalesAndMins(block); }
  static Values32 Values(const uint8_t* block, size_t j) {
    const uint8_t* in = block + 16 + j / 2 * 32;
    const int shift = j % 2 == 0 ? kShift : kShift - 4;
    return {Field(LoadU8(in), shift, 15 << kShift), Field(LoadU8(in + 16), shift, 15 << kShift)};
  }
  static F32x8 Largest(F32x8 a, F32x8 b) { return LargestOf<16>(a, b); }
};

struct Q5_K {
  static constexpr size_t kBlockK = 256, kBlockBytes = 176, kSubBlocks = 8;
  static constexpr int kShift = 10;
  static Factors<8> GetFactors(const uint8_t* block, size_t) { return ScalesAndMins(block); }
  static Values32 Values(const uint8_t* block, size_t j) {
    const uint8_t* in = block + 48 + j / 2 * 32;
    const int shift = j % 2 == 0 ? kShift : kShift - 4;
    const auto value = [&](size_t i) {
      const I16x16 low = Field(LoadU8(in + i), shift, 15 << kShift);
      const int to_fifth = kShift + 4 - static_cast<int>(j);
      return hn::Or(low, Field(LoadU8(block + 16 + i), to_fifth, 16 << kShift));
    };
    return {value(0), value(16)};
  }
  static F32x8 Largest(F32x8 a, F32x8 b) { return LargestOf<32>(a, b); }
};

struct Q6_K {
  static constexpr size_t kBlockK = 256, kBlockBytes = 210, kSubBlocks = 16;
  static constexpr int kShift = 9;
  static Factors<16> GetFactors(const uint8_t* block, size_t) {
    const F32x8 d = SetF16(block + 208);
    return {{hn::Mul(d, ToF32(LoadI8x8(block + 192))), hn::Mul(d, ToF32(LoadI8x8(block + 200)))},
            {hn::Zero(kF32), hn::Zero(kF32)}};
  }
  static Values32 Values(const uint8_t* block, size_t j) {
    const uint8_t* low4 = block + j / 4 * 64 + j % 2 * 32;
    const uint8_t* high2 = block + 128 + j / 4 * 32;
    const int low_shift = j % 4 < 2 ? kShift : kShift - 4;
    const int high_shift = kShift + 4 - 2 * static_cast<int>(j % 4);
    const I16x16 offset = hn::Set(kI16, 32 << kShift);
    const auto value = [&](size_t i) {
      const I16x16 low = Field(LoadU8(low4 + i), low_shift, 15 << kShift);
      return hn::Sub(hn::Or(low, Field(LoadU8(high2 + i), high_shift, 48 << kShift)), offset);
    };
    return {value(0), value(16)};
  }
  static F32x8 Largest(F32x8 a, F32x8) { return hn::Mul(hn::Abs(a), hn::Set(kF32, 32.0f)); }
};

// f(Format()) for the block format of `dtype`; false for a type that has none.
template <class F>
bool WithFormat(DType dtype, const F& f) {
  switch (dtype) {
    case DType::kQ4_0:
      return f(Q4_0()), true;
    case DType::kQ4_1:
      return f(Q4_1()), true;
    case DType::kQ5_0:
      return f(Q5_0()), true;
    case DType::kQ5_1:
      return f(Q5_1()), true;
    case DType::kQ8_0:
      return f(Q8_0()), true;
    case DType::kQ2_K:
      return f(Q2_K()), true;
    case DType::kQ3_K:
      return f(Q3_K()), true;
    case DType::kQ4_K:
      return f(Q4_K()), true;
    case DType::kQ5_K:
      return f(Q5_K()), true;
    case DType::kQ6_K:
      return f(Q6_K()), true;
    case DType::kIQ4_NL:
      return f(IQ4_NL()), true;
    case DType::kIQ4_XS:
      return f(IQ4_XS()), true;
    default:
      return false;
  }
}

}  // namespace blocks
}  // namespace HWY_NAMESPACE
}  // namespace ingot::cpu
HWY_AFTER_NAMESPACE();

#endif  // INGOT_DEVICES_CPU_BLOCK_VALUES_INL_H_
