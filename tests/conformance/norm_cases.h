// Cases of normalizations that the tests of the CPU's and the GPU's kernels share.
#pragma once

#include <cstdint>
#include <vector>

#include "harness.h"

namespace ingot::conformance {

// A few roundings of 2^-24 for each element, and those of the sums: a group's are in double, a
// row's in f32 over 64 lanes (CPU), or over at most 32 elements a thread before the tree (GPU).
// Measured: 1.5e-7.
inline constexpr double kNormTolerance = 5e-7;

// LayerNorm without and with weight and bias, and RmsNorm, of ten rows of `width`.
std::vector<Case> RowNormCases(int64_t width);

// GroupNormStats and GroupNorm of two pictures of size * (size + 1) pixels.
std::vector<Case> GroupNormCases(DType picture, int64_t size);

// GroupNorm of a picture, and LayerNorm of the same numbers in rows of `width`, of a mean 1000
// times the deviation: sums of x^2 would have lost all digits.
std::vector<Case> LargeMeanCases(const Shape& picture, int64_t width);

}  // namespace ingot::conformance
