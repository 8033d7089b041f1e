// Linear layers by products of 16-bit integers: half the speed of int8, twice that of f32, and an
// error below what rounding x to bf16 costs.
//
// K is cut into blocks of 256. In a block, each row of x and each feature of the weight has one
// scale, s = max|v| / limit, and integers q = round(v / s):
//
//   x       limit 4095, 13 bits signed.
//   weight  limit as large as sum|q| <= 524416 and int16 allow: 2047 where all weights are equal,
//           6000 and more where they are spread as those of trained layers are.
//
// 4095 * 524416 < 2^31, so no sum of a block's products leaves int32, whatever the data, and it is
// exact in any order. y = sum over blocks, in their order, of fma(float(sum) * s_w, s_x, y), then
// the epilogue: the same bits at every x86 level (vpmaddwd of AVX2 and AVX-512, vpdpwssd of VNNI),
// at every thread count, and for a row whatever rows are beside it.
//
// A block of x with a NaN or an infinity makes its row of the output NaN, one of the weight its
// feature. |w| from 2^100 count as infinite; values below 2^-112 round to 0.
//
// Relative error (largest error over largest output, K = 3072, normal data): see
// tests/conformance/linear_int16_test.cc.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <stop_token>

#include "base/thread_pool.h"
#include "devices/cpu/linear_call.h"

namespace ingot::cpu {

// The rows of x are quantized in groups of at most 26 MiB and the weight is packed once for each
// group, in panels of 64 features, K * 128 bytes a thread. Groups are that large because packing
// takes a thread as long as multiplying 30 rows: 1 % at the 4352 rows (all of a 1024x1024 picture
// with K = 3072, one group), 4 % in groups of 884 (K = 15360, five).
int64_t LinearInt16WorkspaceBytes(size_t num_rows, size_t num_k, size_t num_threads);

// Asks `stop` before every item of work (one panel of one group: 1.8 GOP at most); when it was
// requested the output is undefined.
void RunLinearInt16(const LinearCall& call, std::span<std::byte> workspace, ThreadPool& pool,
                    std::stop_token stop);

}  // namespace ingot::cpu
