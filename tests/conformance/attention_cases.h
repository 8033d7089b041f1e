// Cases of Attention that the tests of the CPU's and the GPU's kernels share.
#pragma once

#include <cstdint>

#include "harness.h"

namespace ingot::conformance {

struct AttentionSize {
  int64_t pictures, heads, queries, keys, head_dim;
};

// With a bias of one picture for all or of each, or with none; the tolerance is the caller's.
Case MakeAttentionCase(const AttentionSize& size, const op::Attention& op,
                       int64_t bias_pictures = 0);

// q, k, v normal, with scores of standard deviation `deviation`.
Case NormalAttentionCase(const AttentionSize& size, double deviation, op::Compute compute);

// Queries [begin, begin + count) of one picture, with all keys.
Case QueriesOf(const Case& whole, int64_t begin, int64_t count);

}  // namespace ingot::conformance
