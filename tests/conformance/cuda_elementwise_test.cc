// Elementwise ops of the CUDA device against their reference.
#include <gtest/gtest.h>

#include <algorithm>

#include "cuda_harness.h"

namespace ingot::conformance {
namespace {

// One rounding, as in the reference.
TEST(CudaBinary, HoldsForEveryBroadcast) {
  const Shape full = {2, 3, 37};
  for (int a_mask = 0; a_mask < 8; ++a_mask) {
    for (int b_mask = 0; b_mask < 8; ++b_mask) {
      Shape a = full, b = full;
      for (int axis = 0; axis < 3; ++axis) {
        if (a_mask >> axis & 1) a[axis] = 1;
        if (b_mask >> axis & 1) b[axis] = 1;
      }
      ExpectCudaConforms(
          {.name = a.ToString() + b.ToString(),
           .op = op::Binary{a_mask % 2 == 0 ? op::BinaryKind::kAdd : op::BinaryKind::kMul},
           .inputs = {Floats(a, 1), Floats(b, 2)},
           .row_elements = {a.back(), b.back(), std::max(a.back(), b.back())}});
    }
  }
}

// exp, the sum and the quotient round by 2^-24 each, and the argument of exp by 2^-24 of itself.
TEST(CudaUnary, Holds) {
  for (auto kind : {op::UnaryKind::kSilu, op::UnaryKind::kGeluTanh, op::UnaryKind::kQuickGelu}) {
    for (int64_t n : {1, 255, 256, 257, 5000}) {
      ExpectCudaConforms({.name = Shape({n}).ToString(),
                          .op = op::Unary{kind},
                          .inputs = {Floats({3, n}, 1)},
                          .tolerance = 3e-7,
                          .row_elements = {n, n}});
    }
  }
}

TEST(CudaAffine, Holds) {
  ExpectCudaConforms({.name = "affine",
                      .op = op::Affine{.scale = 1.7f, .shift = -0.3f},
                      .inputs = {Floats({3, 1234}, 1)},
                      .row_elements = {1234, 1234}});
}

}  // namespace
}  // namespace ingot::conformance
