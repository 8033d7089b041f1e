// Linear layers by products of 16-bit integers: 1.6 to 1.8 times as fast as f32 can be (one core of
// a Zen 5, M of 1280 and more), with an error a tenth of what rounding x to bf16 costs.
//
// K is cut into blocks of 256. In a block, each row of x and each feature of the weight has one
// scale s and integers q = round(v / s); s is the least that gives
//
//   norm(q) < 46340, the root of the sum of q^2, and |q| <= 32767.
//
// By Cauchy and Schwarz no sum of products of a block, whole or partial, then reaches
// 46340^2 < 2^31, whatever the data: sums are exact in int32, in any order. The result is
//
//   y = fma(float(sum) * s_w, s_x, y) for the blocks in their order, then the epilogue:
//
// the same bits at every x86 level (vpmaddwd of AVX2 and AVX-512, vpdpwssd of VNNI) and thread
// count, and for a row whatever rows are beside it.
//
// A rounded value errs by s / sqrt(12), a block by 16 s / sqrt(12) = 1.0e-4 of its norm. So the
// error is 1.4e-4 of the root mean square of the output, of normal data (13 bits) as of data with
// outliers (up to 16 bits for those), for every type of weight.
//
// A block with a NaN or an infinity makes its row of the output NaN, if it is of x, or its feature.
// Values below 2^-116 are 0. Where norm(w) exceeds 2^112, float(sum) * s_w may be infinite.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <stop_token>

#include "base/thread_pool.h"
#include "devices/cpu/linear_call.h"

namespace ingot::cpu {

// The integers of x take 26 MiB at most: x is quantized in groups of rows, and the weight packed
// once for each group, in panels of 64 features (K * 128 bytes a thread). Packing takes as long as
// multiplying 50 rows: 1 % at 4352 rows (a 1024x1024 picture; one group up to K = 3072), 6 % in
// groups of 882 (K = 15360, five of them).
int64_t LinearInt16WorkspaceBytes(size_t num_rows, size_t num_k, size_t num_threads);

// Asks `stop` before every item of work (one panel of one group: 1.8 GOP at most); when it was
// requested the output is undefined.
void RunLinearInt16(const LinearCall& call, std::span<std::byte> workspace, ThreadPool& pool,
                    std::stop_token stop);

}  // namespace ingot::cpu
