// Rotary turns and T5's position bias against their reference.
#include <gtest/gtest.h>

#include "harness.h"

namespace ingot::conformance {
namespace {

const Shape kShapes[] = {{1, 5, 3, 6}, {2, 7, 3, 16}, {2, 200, 2, 128}};

Operand TableFor(const Shape& x) { return Floats({x[0], x[1], x[3] / 2, 2}, 2); }

TEST(PositionConformance, RopeHolds) {
  for (const Shape& x : kShapes) {
    const int64_t row = x[2] * x[3];
    ExpectConforms({x.ToString(),
                    op::Rope{},
                    {Floats(x, 1), TableFor(x)},
                    1.2e-7,  // two roundings of 2^-24
                    {row, 0, row}});
  }
}

TEST(PositionConformance, RmsNormRopeHolds) {
  for (const Shape& x : kShapes) {
    const int64_t row = x[2] * x[3];
    ExpectConforms({x.ToString(),
                    op::RmsNormRope{.eps = 1e-6f},
                    {Floats(x, 1), Floats({x[3]}, 3), TableFor(x)},
                    4e-7,  // four roundings, and the sum of squares
                    {row, 0, 0, row}});
  }
}

TEST(PositionConformance, RmsNormRopeHasTheBitsOfNormThenRope) {
  for (const Shape& shape : kShapes) {
    const Operand x = Floats(shape, 1);
    const Operand weight = Floats({shape[3]}, 3);
    const std::vector<float> norm =
        RunFast({"norm", op::RmsNorm{.eps = 1e-6f}, {x, weight}, 0.0, {}});
    EXPECT_EQ(
        RunFast({"rope", op::Rope{}, {FloatsOf(shape, norm), TableFor(shape)}, 0.0, {}}),
        RunFast({"fused", op::RmsNormRope{.eps = 1e-6f}, {x, weight, TableFor(shape)}, 0.0, {}}));
  }
}

TEST(PositionConformance, RelativePositionBiasHolds) {
  for (int64_t length : {1, 2, 77, 300}) {
    ExpectConforms(
        {std::to_string(length), op::RelativePositionBias{.length = length}, {Floats({32, 3}, 1)}});
  }
}

}  // namespace
}  // namespace ingot::conformance
