// Cases of ops that move elements that the tests of the CPU's and the GPU's kernels share.
#pragma once

#include <cstdint>
#include <vector>

#include "harness.h"

namespace ingot::conformance {

// Every order of the four axes of x.
std::vector<Case> PermuteCases(const Shape& x);

// Steps [begin, end) of each axis of x.
std::vector<Case> SliceCases(const Shape& x, int64_t begin, int64_t end);

// Behind each other along each axis: x, one step of that axis, and x.
std::vector<Case> ConcatCases(const Shape& x);

// Rows of a table of ten.
Case EmbeddingCase(DType table);

}  // namespace ingot::conformance
