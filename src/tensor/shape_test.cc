#include "tensor/shape.h"

#include <gtest/gtest.h>

namespace ingot {
namespace {

TEST(Shape, CountsElementsAndPrintsOutermostFirst) {
  const Shape shape = {2, 3, 64};
  EXPECT_EQ(shape.num_elements(), 384);
  EXPECT_EQ(shape[-1], 64);
  EXPECT_EQ(shape.ToString(), "[2, 3, 64]");
  EXPECT_EQ(Shape().num_elements(), 1);
}

TEST(NumBytes, BlockFormatsCountWholeBlocks) {
  EXPECT_EQ(NumBytes(DType::kF16, {3, 5}), 30);
  EXPECT_EQ(NumBytes(DType::kQ4_0, {2, 64}), 2 * 2 * 18);
  EXPECT_EQ(NumBytes(DType::kQ6_K, {1, 512}), 2 * 210);
}

TEST(DType, EveryTypeIsFoundByItsName) {
  for (int i = 0; i < kNumDTypes; ++i) {
    const auto dtype = static_cast<DType>(i);
    EXPECT_EQ(FindDType(Name(dtype)), dtype);
  }
  EXPECT_FALSE(FindDType("Q9_9"));
}

}  // namespace
}  // namespace ingot
