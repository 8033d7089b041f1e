// Rotary turns and T5's position bias against their reference.
#include <gtest/gtest.h>

#include "harness.h"

namespace ingot::conformance {
namespace {

TEST(PositionConformance, RopeHolds) {
  for (const Shape& x : {Shape({1, 5, 3, 6}), Shape({2, 7, 3, 16}), Shape({2, 200, 2, 128})}) {
    ExpectConforms({x.ToString(),
                    op::Rope{},
                    {RandomOperand(DType::kF32, x, 1),
                     RandomOperand(DType::kF32, {x[0], x[1], x[3] / 2, 2}, 2)},
                    1.2e-7});  // two roundings of 2^-24
  }
}

TEST(PositionConformance, RelativePositionBiasHolds) {
  for (int64_t length : {1, 2, 77, 300}) {
    ExpectConforms({std::to_string(length),
                    op::RelativePositionBias{.length = length},
                    {RandomOperand(DType::kF32, {32, 3}, 1)}});
  }
}

}  // namespace
}  // namespace ingot::conformance
