// Elementwise ops against their reference.
#include <gtest/gtest.h>

#include <cstring>

#include "harness.h"

namespace ingot::conformance {
namespace {

// One rounding, as in the reference: the same numbers.
TEST(BinaryConformance, HoldsForEveryBroadcast) {
  const Shape full = {2, 3, 5, 37};
  for (int a_mask = 0; a_mask < 16; ++a_mask) {
    for (int b_mask = 0; b_mask < 16; ++b_mask) {
      Shape a = full, b = full;
      for (int axis = 0; axis < 4; ++axis) {
        if (a_mask >> axis & 1) a[axis] = 1;
        if (b_mask >> axis & 1) b[axis] = 1;
      }
      const auto kind = a_mask % 2 == 0 ? op::BinaryKind::kAdd : op::BinaryKind::kMul;
      ExpectConforms({.name = a.ToString() + b.ToString(),
                      .op = op::Binary{kind},
                      .inputs = {Floats(a, 1), Floats(b, 2)}});
    }
  }
}

TEST(BinaryConformance, HoldsAcrossThePiecesOfTheThreads) {
  for (const Shape& b : {Shape({1, 50, 1000}), Shape({1, 1, 1000}), Shape({1, 50, 1})}) {
    ExpectConforms({.name = b.ToString(),
                    .op = op::Binary{op::BinaryKind::kMul},
                    .inputs = {Floats({1, 50, 1000}, 1), Floats(b, 2)}});
  }
}

// exp, the sum and the quotient round by 2^-24 each, and the argument of exp by 2^-24 of itself.
// Measured: 1.2e-7.
constexpr double kUnaryTolerance = 3e-7;

TEST(UnaryConformance, HoldsForLengthsAroundTheVectors) {
  for (auto kind : {op::UnaryKind::kSilu, op::UnaryKind::kGeluTanh, op::UnaryKind::kQuickGelu}) {
    for (int64_t n : {1, 7, 8, 15, 16, 17, 16385, 40000}) {
      ExpectConforms({.name = Shape({n}).ToString(),
                      .op = op::Unary{kind},
                      .inputs = {Floats({n}, 1)},
                      .tolerance = kUnaryTolerance});
    }
  }
}

// One value a case, so that the tolerance is relative to it. For large negative values the result
// is x * exp(z): its error grows with |z|, and below -87 exp is 0 where the reference has 1e-38.
TEST(UnaryConformance, HoldsForTheWholeRange) {
  for (auto kind : {op::UnaryKind::kSilu, op::UnaryKind::kGeluTanh, op::UnaryKind::kQuickGelu}) {
    for (float x : {-3.0f, -1.0f, -1e-3f, 0.0f, 1e-30f, 1.0f, 10.0f, 90.0f, 1e4f, 3e38f}) {
      Case test{.name = std::to_string(x),
                .op = op::Unary{kind},
                .inputs = {Floats({1}, 1)},
                .tolerance = 2e-6};
      std::memcpy(test.inputs[0].bytes.data(), &x, sizeof x);
      ExpectConforms(test);
    }
  }
}

TEST(AffineConformance, Holds) {
  ExpectConforms({.name = "affine",
                  .op = op::Affine{.scale = 1.7f, .shift = -0.3f},
                  .inputs = {Floats({3, 12345}, 1)}});
}

}  // namespace
}  // namespace ingot::conformance
