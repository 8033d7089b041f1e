// Every thread decodes eight consecutive values: one store of 16 bytes in BF16 or F16, and next to
// no thread waits for another's bytes.
//
// The values are those of tensor/dequantize.cc bit for bit, where each layout is told: a product
// that is added to is rounded on its own (__fmul_rn), as nvcc would make one fused step of both.
// The source says so, not a flag, so that the other kernels keep theirs.
#include "devices/cuda/dequantize.h"

#include <algorithm>

#include "devices/cuda/kernel.h"
#include "devices/cuda/row_scale.h"

namespace ingot::cuda {
namespace {

constexpr int kValues = 8;  // of a thread

// Bytes of a weight from an address that is a multiple of `kAlignment`, as are the offsets of
// Eight: with what loads that alignment allows.
template <int kAlignment>
struct Bytes {
  const unsigned char* data;

  __device__ int U8(int offset) const { return data[offset]; }
  __device__ int I8(int offset) const { return static_cast<signed char>(data[offset]); }
  __device__ float F16(int offset) const {
    if constexpr (kAlignment == 1) {
      return ToFloat(__ushort_as_half(LoadUnaligned<unsigned short>(data + offset)));
    } else {
      return ToFloat(__ushort_as_half(*reinterpret_cast<const unsigned short*>(data + offset)));
    }
  }
  // Byte i in bits 8i to 8i + 7.
  __device__ uint64_t Eight(int offset) const {
    const unsigned char* from = data + offset;
    if constexpr (kAlignment == 8) return *reinterpret_cast<const uint64_t*>(from);
    if constexpr (kAlignment == 4) {
      const auto* words = reinterpret_cast<const uint32_t*>(from);
      return words[0] | static_cast<uint64_t>(words[1]) << 32;
    }
    if constexpr (kAlignment == 2) {
      const auto* words = reinterpret_cast<const uint16_t*>(from);
      const uint32_t low = words[0] | static_cast<uint32_t>(words[1]) << 16;
      const uint32_t high = words[2] | static_cast<uint32_t>(words[3]) << 16;
      return low | static_cast<uint64_t>(high) << 32;
    }
    if constexpr (kAlignment == 1) return LoadUnaligned<uint64_t>(from);
  }
};

__device__ inline int ByteOf(uint64_t bytes, int i) {
  return static_cast<int>(bytes >> 8 * i & 0xFF);
}
__device__ inline uint64_t Nibbles(uint64_t bytes, int shift) {
  return bytes >> shift & 0x0F0F0F0F0F0F0F0Full;
}
__device__ inline uint64_t Pairs(uint64_t bytes, int shift) {
  return bytes >> shift & 0x0303030303030303ull;
}
__device__ inline uint64_t Bits(uint64_t bytes, int shift) {
  return bytes >> shift & 0x0101010101010101ull;
}

// out[i] = f(i)
template <class F>
__device__ void ForEach(float* out, const F& f) {
  for (int i = 0; i < kValues; ++i) out[i] = f(i);
}
__device__ inline void Scale(float d, uint64_t bytes, int offset, float* out) {
  ForEach(out, [&](int i) { return d * static_cast<float>(ByteOf(bytes, i) + offset); });
}
__device__ inline void ScaleAndAdd(float d, uint64_t bytes, float m, float* out) {
  ForEach(out,
          [&](int i) { return __fadd_rn(__fmul_rn(d, static_cast<float>(ByteOf(bytes, i))), m); });
}

// A format: elements and bytes of a block, the power of two that divides those bytes and the
// offsets of Eight, and Decode(in, i, out): the values of elements i to i + 7 of the block at `in`.
// i is a multiple of 8.

// The nibbles of elements i to i + 7 where byte j holds j low and j + 16 high.
template <class In>
__device__ uint64_t NibblesOf32(const In& in, int offset, int i) {
  return Nibbles(in.Eight(offset + i % 16), i / 16 * 4);
}
// The bits of a byte, one a byte.
__device__ inline uint64_t Spread(int bits) {
  uint64_t spread = 0;
  for (int i = 0; i < kValues; ++i) spread |= static_cast<uint64_t>(bits >> i & 1) << 8 * i;
  return spread;
}

struct Q4_0 {
  static constexpr int kElements = 32, kBytes = 18, kAlignment = 2;
  template <class In>
  __device__ static void Decode(const In& in, int i, float* out) {
    Scale(in.F16(0), NibblesOf32(in, 2, i), -8, out);
  }
};

struct Q4_1 {
  static constexpr int kElements = 32, kBytes = 20, kAlignment = 4;
  template <class In>
  __device__ static void Decode(const In& in, int i, float* out) {
    ScaleAndAdd(in.F16(0), NibblesOf32(in, 4, i), in.F16(2), out);
  }
};

struct Q5_0 {
  static constexpr int kElements = 32, kBytes = 22, kAlignment = 2;
  template <class In>
  __device__ static void Decode(const In& in, int i, float* out) {
    Scale(in.F16(0), NibblesOf32(in, 6, i) | Spread(in.U8(2 + i / 8)) << 4, -16, out);
  }
};

struct Q5_1 {
  static constexpr int kElements = 32, kBytes = 24, kAlignment = 8;
  template <class In>
  __device__ static void Decode(const In& in, int i, float* out) {
    ScaleAndAdd(in.F16(0), NibblesOf32(in, 8, i) | Spread(in.U8(4 + i / 8)) << 4, in.F16(2), out);
  }
};

struct Q8_0 {
  static constexpr int kElements = 32, kBytes = 34, kAlignment = 2;
  template <class In>
  __device__ static void Decode(const In& in, int i, float* out) {
    // Of a signed byte with its top bit turned: the value plus 128.
    Scale(in.F16(0), in.Eight(2 + i) ^ 0x8080808080808080ull, -128, out);
  }
};

struct Q2_K {
  static constexpr int kElements = 256, kBytes = 84, kAlignment = 4;
  template <class In>
  __device__ static void Decode(const In& in, int i, float* out) {
    const int scale = in.U8(i / 16);
    const float dl = in.F16(80) * static_cast<float>(scale & 15);
    const float ml = in.F16(82) * static_cast<float>(scale >> 4);
    ScaleAndAdd(dl, Pairs(in.Eight(16 + i / 128 * 32 + i % 32), i % 128 / 32 * 2), -ml, out);
  }
};

struct Q3_K {
  static constexpr int kElements = 256, kBytes = 110, kAlignment = 2;
  template <class In>
  __device__ static void Decode(const In& in, int i, float* out) {
    const int j = i / 16;
    const int scale =
        (in.U8(96 + j % 8) >> (j / 8 * 4) & 15) | (in.U8(96 + 8 + j % 4) >> (j / 4 * 2) & 3) << 4;
    const uint64_t low = Pairs(in.Eight(32 + i / 128 * 32 + i % 32), i % 128 / 32 * 2);
    // Without the high bit four less: with it as the third bit, always.
    Scale(in.F16(108) * static_cast<float>(scale - 32), low | Bits(in.Eight(i % 32), i / 32) << 2,
          -4, out);
  }
};

// Scale and min j of the 12 bytes of Q4_K and Q5_K, from byte 4 on, times d and dmin.
struct ScaleMin {
  float scale, min;
};
template <class In>
__device__ ScaleMin ReadScaleMin(const In& in, int j) {
  const int lower = in.U8(4 + j % 4), upper = in.U8(8 + j % 4);
  int scale = lower & 63, min = upper & 63;
  if (j >= 4) {
    const int rest = in.U8(8 + j);
    scale = (rest & 15) | (lower >> 6) << 4;
    min = rest >> 4 | (upper >> 6) << 4;
  }
  return {in.F16(0) * static_cast<float>(scale), in.F16(2) * static_cast<float>(min)};
}

struct Q4_K {
  static constexpr int kElements = 256, kBytes = 144, kAlignment = 8;
  template <class In>
  __device__ static void Decode(const In& in, int i, float* out) {
    const int j = i / 32;
    const ScaleMin s = ReadScaleMin(in, j);
    ScaleAndAdd(s.scale, Nibbles(in.Eight(16 + j / 2 * 32 + i % 32), j % 2 * 4), -s.min, out);
  }
};

struct Q5_K {
  static constexpr int kElements = 256, kBytes = 176, kAlignment = 8;
  template <class In>
  __device__ static void Decode(const In& in, int i, float* out) {
    const int j = i / 32;
    const ScaleMin s = ReadScaleMin(in, j);
    const uint64_t low = Nibbles(in.Eight(48 + j / 2 * 32 + i % 32), j % 2 * 4);
    ScaleAndAdd(s.scale, low | Bits(in.Eight(16 + i % 32), j) << 4, -s.min, out);
  }
};

struct Q6_K {
  static constexpr int kElements = 256, kBytes = 210, kAlignment = 2;
  template <class In>
  __device__ static void Decode(const In& in, int i, float* out) {
    const uint64_t low = Nibbles(in.Eight(i / 128 * 64 + i % 64), i % 128 / 64 * 4);
    const uint64_t high = Pairs(in.Eight(128 + i / 128 * 32 + i % 32), i % 128 / 32 * 2);
    Scale(in.F16(208) * static_cast<float>(in.I8(192 + i / 16)), low | high << 4, -32, out);
  }
};

// The values that nibbles of IQ4_NL and IQ4_XS pick (ggml-common.h, kvalues_iq4nl), a byte each:
// in registers, as a table would be read once a lane.
__device__ inline void ScaleIQ4(float d, uint64_t nibbles, float* out) {
  constexpr uint64_t kLow = 0xF6EADDCFBFAD9881ull, kHigh = 0x7159453526190D01ull;
  ForEach(out, [&](int i) {
    const int q = ByteOf(nibbles, i);
    const uint64_t values = q < 8 ? kLow : kHigh;
    return d * static_cast<float>(static_cast<signed char>(values >> q % 8 * 8));
  });
}

struct IQ4_NL {
  static constexpr int kElements = 32, kBytes = 18, kAlignment = 2;
  template <class In>
  __device__ static void Decode(const In& in, int i, float* out) {
    ScaleIQ4(in.F16(0), NibblesOf32(in, 2, i), out);
  }
};

struct IQ4_XS {
  static constexpr int kElements = 256, kBytes = 136, kAlignment = 8;
  template <class In>
  __device__ static void Decode(const In& in, int i, float* out) {
    const int j = i / 32;
    const int high = in.U8(2 + j / 4) >> (j % 4 * 2) & 3;
    const int scale = (in.U8(4 + j / 2) >> (j % 2 * 4) & 15) | high << 4;
    ScaleIQ4(in.F16(0) * static_cast<float>(scale - 32), NibblesOf32(in, 8 + j * 16, i % 32), out);
  }
};

// Plain numbers of kNumBytes: a block of eight, of which a row may end with a part.
template <int kNumBytes, float (*to_float)(uint32_t)>
struct Plain {
  static constexpr int kElements = kValues, kBytes = kValues * kNumBytes, kAlignment = 8;
  template <class In>
  __device__ static void Decode(const In& in, int, float* out) {
    uint64_t words[kNumBytes];
    for (int i = 0; i < kNumBytes; ++i) words[i] = in.Eight(8 * i);
    constexpr uint64_t kMask = (uint64_t{1} << 8 * kNumBytes) - 1;
    ForEach(out, [&](int i) {
      const int at = i * kNumBytes;
      return to_float(static_cast<uint32_t>(words[at / 8] >> at % 8 * 8 & kMask));
    });
  }
  __device__ static float DecodeOne(const unsigned char* in) {
    uint32_t bits = 0;
    for (int i = 0; i < kNumBytes; ++i) bits |= static_cast<uint32_t>(in[i]) << 8 * i;
    return to_float(bits);
  }
};
__device__ inline float OfF32(uint32_t bits) { return __uint_as_float(bits); }
__device__ inline float OfF16(uint32_t bits) {
  return ToFloat(__ushort_as_half(static_cast<unsigned short>(bits)));
}
__device__ inline float OfBF16(uint32_t bits) { return __uint_as_float(bits << 16); }
// As an f16 with the same fields: a mantissa of 3 bits, an exponent whose bias is 8 less.
__device__ inline float OfF8E4M3(uint32_t bits) {
  const uint32_t magnitude = bits & 0x7F;
  if (magnitude == 0x7F) return __uint_as_float(0x7FC00000);
  return OfF16((bits & 0x80) << 8 | magnitude << 7) * 256.0f;
}
__device__ inline float OfF8E5M2(uint32_t bits) { return OfF16(bits << 8); }

// f(format) for the format of the type.
template <class F>
void WithFormat(DType dtype, const F& f) {
  switch (dtype) {
    case DType::kF32:
      return f(Plain<4, OfF32>{});
    case DType::kF16:
      return f(Plain<2, OfF16>{});
    case DType::kBF16:
      return f(Plain<2, OfBF16>{});
    case DType::kF8E4M3:
      return f(Plain<1, OfF8E4M3>{});
    case DType::kF8E5M2:
      return f(Plain<1, OfF8E5M2>{});
    case DType::kQ4_0:
      return f(Q4_0{});
    case DType::kQ4_1:
      return f(Q4_1{});
    case DType::kQ5_0:
      return f(Q5_0{});
    case DType::kQ5_1:
      return f(Q5_1{});
    case DType::kQ8_0:
      return f(Q8_0{});
    case DType::kQ2_K:
      return f(Q2_K{});
    case DType::kQ3_K:
      return f(Q3_K{});
    case DType::kQ4_K:
      return f(Q4_K{});
    case DType::kQ5_K:
      return f(Q5_K{});
    case DType::kQ6_K:
      return f(Q6_K{});
    case DType::kIQ4_NL:
      return f(IQ4_NL{});
    case DType::kIQ4_XS:
      return f(IQ4_XS{});
    case DType::kI64:
    case DType::kI32:
    case DType::kU8:
      break;
  }
  INGOT_CHECK(false);
}

// Rows of a weight, those of `ids` where they are given.
struct Rows {
  const unsigned char* data;
  int64_t elements, bytes;  // of a row
  float scale;
  int64_t count;  // to be decoded
  const int32_t* ids;
  int64_t num_rows;  // that an id may name
};

// Grid (elements / kValues, rows or fewer).
template <class Format, int kAlignment, class T>
__global__ void DequantizeKernel(Rows rows, bool stores_vectors, T* out) {
  const int64_t begin = ThreadNumber() * kValues;
  if (begin >= rows.elements) return;
  const int64_t left = rows.elements - begin;
  const int count = left < kValues ? static_cast<int>(left) : kValues;
  const int64_t offset = begin / Format::kElements * Format::kBytes;
  for (int64_t r = blockIdx.y; r < rows.count; r += gridDim.y) {
    const int64_t row = rows.ids != nullptr ? rows.ids[r] : r;
    const bool is_row = row >= 0 && row < rows.num_rows;
    float values[kValues] = {};
    if (!is_row) {
      ForEach(values, [](int) { return __uint_as_float(0x7FC00000); });
    } else if (count == kValues) {
      const Bytes<kAlignment> in{rows.data + row * rows.bytes + offset};
      Format::Decode(in, static_cast<int>(begin % Format::kElements), values);
    } else if constexpr (Format::kElements == kValues) {
      const unsigned char* in = rows.data + row * rows.bytes + offset;
      ForEach(values, [&](int i) {
        return i < count ? Format::DecodeOne(in + i * (Format::kBytes / kValues)) : 0.0f;
      });
    }
    T* to = out + r * rows.elements + begin;
    if (stores_vectors && count == kValues) {
      Vector<T, kValues> packed;
      for (int i = 0; i < kValues; ++i) packed.values[i] = FromFloat<T>(values[i] * rows.scale);
      Vector<T, kValues>::At(to) = packed;
    } else {
      for (int i = 0; i < kValues; ++i) {
        if (i < count) to[i] = FromFloat<T>(values[i] * rows.scale);
      }
    }
  }
}

// A block a row, decoded twice: for its largest magnitude, and to be stored.
constexpr int kEncodeThreads = 128;
template <class Format, int kAlignment>
__global__ void EncodeKernel(Rows rows, __nv_fp8_e4m3* out, float* factors) {
  __shared__ float scratch[kWarp];
  const int64_t row = blockIdx.x;
  const unsigned char* from = rows.data + row * rows.bytes;
  const auto for_each_group = [&](const auto& f) {
    for (int64_t i = threadIdx.x * kValues; i < rows.elements; i += kEncodeThreads * kValues) {
      float values[kValues];
      const Bytes<kAlignment> in{from + i / Format::kElements * Format::kBytes};
      Format::Decode(in, static_cast<int>(i % Format::kElements), values);
      for (float& value : values) value *= rows.scale;
      f(i, values);
    }
  };
  float largest = 0.0f;
  for_each_group([&](int64_t, const float* values) {
    for (int i = 0; i < kValues; ++i) largest = fmaxf(largest, fabsf(values[i]));
  });
  const float scale = ScaleOf<__nv_fp8_e4m3>(LargestOfBlock(largest, scratch));
  if (threadIdx.x == 0) factors[row] = InverseOf(scale);
  for_each_group([&](int64_t i, const float* values) {
    Vector<__nv_fp8_e4m3, kValues> packed;
    for (int j = 0; j < kValues; ++j) {
      packed.values[j] = FromFloat<__nv_fp8_e4m3>(values[j] * scale);
    }
    Vector<__nv_fp8_e4m3, kValues>::At(out + row * rows.elements + i) = packed;
  });
}

bool IsMultiple(const void* address, int64_t of) {
  return reinterpret_cast<uintptr_t>(address) % static_cast<uintptr_t>(of) == 0;
}

template <class T>
void Dequantize(DType dtype, const Rows& rows, T* out, cudaStream_t stream) {
  const auto row_bytes = rows.elements * static_cast<int64_t>(sizeof(T));
  const bool stores_vectors = IsMultiple(out, 16) && (rows.count == 1 || row_bytes % 16 == 0);
  WithFormat(dtype, [&]<class Format>(Format) {
    constexpr int kAlignment = Format::kAlignment;
    const bool is_aligned =
        IsMultiple(rows.data, kAlignment) && (rows.num_rows == 1 || rows.bytes % kAlignment == 0);
    Grid grid = GridOver((rows.elements + kValues - 1) / kValues);
    grid.blocks.y = static_cast<unsigned>(std::min<int64_t>(rows.count, 65535));
    Launch(grid, stream,
           is_aligned ? DequantizeKernel<Format, kAlignment, T> : DequantizeKernel<Format, 1, T>,
           rows, stores_vectors, out);
  });
}

}  // namespace

bool IsWeightType(DType dtype) {
  return dtype != DType::kI64 && dtype != DType::kI32 && dtype != DType::kU8;
}

void DequantizeRows(const ConstTensorView& weight, int64_t begin, int64_t num_rows, DType dtype,
                    void* out, cudaStream_t stream) {
  const int64_t row_bytes = NumBytes(weight.dtype, {weight.shape[1]});
  // One after the other they are one long row.
  const Rows rows = {
      .data = reinterpret_cast<const unsigned char*>(weight.data) + begin * row_bytes,
      .elements = num_rows * weight.shape[1],
      .bytes = num_rows * row_bytes,
      .scale = weight.scale,
      .count = 1,
      .ids = nullptr,
      .num_rows = 1};
  if (dtype == DType::kF32) return Dequantize(weight.dtype, rows, static_cast<float*>(out), stream);
  if (dtype == DType::kF16) {
    return Dequantize(weight.dtype, rows, static_cast<__half*>(out), stream);
  }
  INGOT_CHECK(dtype == DType::kBF16);
  Dequantize(weight.dtype, rows, static_cast<__nv_bfloat16*>(out), stream);
}

void EncodeRowsInF8(const ConstTensorView& weight, int64_t begin, int64_t num_rows, void* out,
                    float* factors, cudaStream_t stream) {
  const int64_t k = weight.shape[1], row_bytes = NumBytes(weight.dtype, {k});
  INGOT_CHECK(k % 16 == 0 && IsMultiple(out, 16));
  const Rows rows = {
      .data = reinterpret_cast<const unsigned char*>(weight.data) + begin * row_bytes,
      .elements = k,
      .bytes = row_bytes,
      .scale = weight.scale,
      .count = num_rows,
      .ids = nullptr,
      .num_rows = num_rows};
  const Grid grid = {dim3(static_cast<unsigned>(num_rows)), dim3(kEncodeThreads)};
  WithFormat(weight.dtype, [&]<class Format>(Format) {
    constexpr int kAlignment = Format::kAlignment;
    const bool is_aligned = IsMultiple(rows.data, kAlignment) && row_bytes % kAlignment == 0;
    Launch(grid, stream, is_aligned ? EncodeKernel<Format, kAlignment> : EncodeKernel<Format, 1>,
           rows, static_cast<__nv_fp8_e4m3*>(out), factors);
  });
}

void DequantizeRowsOf(const ConstTensorView& weight, const int32_t* ids, int64_t num_ids,
                      float* out, cudaStream_t stream) {
  const Rows rows = {.data = reinterpret_cast<const unsigned char*>(weight.data),
                     .elements = weight.shape[1],
                     .bytes = NumBytes(weight.dtype, {weight.shape[1]}),
                     .scale = weight.scale,
                     .count = num_ids,
                     .ids = ids,
                     .num_rows = weight.shape[0]};
  Dequantize(weight.dtype, rows, out, stream);
}

}  // namespace ingot::cuda
