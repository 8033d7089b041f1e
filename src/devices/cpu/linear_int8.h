// Linear layers by products of 8-bit integers, for weights in the block formats of GGUF: the speed
// of the int8 units, whatever the format.
//
// K is cut into blocks of 256. In a block each row of x and each feature of the weight has one
// scale and integers |q| <= 127:
//
//   x       s = max|x| / 127, q = round(x * (127 / max|x|)).
//   weight  each sub-block of its format is a * v - b with integers v; S = max / 127 by the bound
//           of the format, its low two mantissa bits cleared, and q = round((a * v - b) / S) in
//           16-bit integer steps. Other types go through f32.
//
// y = sum over blocks in their order of fma(round(S * dot), s, y), then the epilogue. A dot product
// of a block stays below 2^22 and is exact, so the bits are those of every x86 level (vpmaddwd of
// AVX2 and AVX-512, vpdpbusd of VNNI, tiles of AMX), thread count and cut of the rows at multiples
// of kRowGrid.
//
// Outliers: a channel of x far above the others takes the resolution of its whole block. In each
// group of kRowGrid rows of a picture, channels whose largest magnitude (of gelu(x) its bound
// max(x, 0.17)) is above 6 times the median of the channels', at most the 64 largest, leave their
// blocks for a block of their own, whose
// weights are gathered for the group. Relative error at K = 3072: 1.0 % (2.8 % without this on data
// with 8 such channels).
//
// A block of x with a NaN or an infinity makes its row of the output NaN, one of the weight its
// feature. Blocks of x below 1e-30 count as 0.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <stop_token>

#include "base/thread_pool.h"
#include "devices/cpu/linear_call.h"

namespace ingot::cpu {

// About num_rows * K bytes for x, and K * 64 for each thread: K * 128 without products of bytes,
// and with tiles for as many features as keep all threads busy. Of `sizes` the counts alone are
// read.
int64_t LinearInt8WorkspaceBytes(const LinearCall& sizes, size_t num_threads);

// The loops of `pool` end when it is told to stop; inside a panel, each group of rows (0.5 GOP at
// most) is left out when `stop` is requested. The output is undefined then.
void RunLinearInt8(const LinearCall& call, std::span<std::byte> workspace, ThreadPool& pool,
                   std::stop_token stop);

}  // namespace ingot::cpu
