// Cases of Conv2d that the tests of the CPU's and the GPU's kernels share.
#pragma once

#include <cstdint>

#include "harness.h"

namespace ingot::conformance {

struct ConvSize {
  int64_t batch, channels, height, width, filters, kernel;
};

struct ConvTypes {
  DType picture = DType::kF32;  // of x, residual and output
  DType weight = DType::kF32;
};

// With all operands that the op has; the tolerance is the caller's.
Case MakeConvCase(const ConvSize& size, const op::Conv2d& op, const ConvTypes& types);

inline constexpr op::Conv2d kSame3x3{
    .pad_top = 1, .pad_left = 1, .pad_bottom = 1, .pad_right = 1, .has_bias = true};

// kSame3x3 with norm and SiLU in front, and a residual.
op::Conv2d FusedConv(op::Compute compute, bool upsample);

}  // namespace ingot::conformance
