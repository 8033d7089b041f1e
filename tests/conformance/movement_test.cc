// Ops that move elements against their reference: the same numbers.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <numeric>

#include "harness.h"

namespace ingot::conformance {
namespace {

Operand Floats(const Shape& shape, uint32_t seed) {
  return RandomOperand(DType::kF32, shape, seed);
}

TEST(MovementConformance, PermuteHoldsForEveryOrder) {
  for (const Shape& shape : {Shape({2, 3, 5, 7}), Shape({1, 70, 3, 33}), Shape({40, 1, 35, 1})}) {
    op::Permute permute;
    std::iota(permute.axes.begin(), permute.axes.end(), 0);
    do {
      ExpectConforms(
          {shape.ToString() + op::DescribeAttributes(permute), permute, {Floats(shape, 1)}});
    } while (std::next_permutation(permute.axes.begin(), permute.axes.begin() + 4));
  }
}

TEST(MovementConformance, PermuteHoldsAcrossThePiecesOfTheThreads) {
  ExpectConforms({"heads", op::Permute{.axes = {0, 2, 1, 3}}, {Floats({1, 600, 3, 64}, 1)}});
  ExpectConforms({"matrix", op::Permute{.axes = {1, 0}}, {Floats({1100, 70}, 1)}});
  ExpectConforms(
      {"pixels", op::Permute{.axes = {0, 3, 1, 4, 2, 5}}, {Floats({1, 20, 30, 16, 2, 2}, 1)}});
}

TEST(MovementConformance, SliceHoldsForEveryAxis) {
  for (int axis = 0; axis < 3; ++axis) {
    ExpectConforms(
        {"small", op::Slice{.axis = axis, .begin = 1, .end = 3}, {Floats({3, 4, 5}, 1)}});
    ExpectConforms(
        {"large", op::Slice{.axis = axis, .begin = 7, .end = 39}, {Floats({40, 50, 60}, 1)}});
  }
}

TEST(MovementConformance, ConcatHoldsForEveryAxis) {
  const Shape shape = {30, 41, 52};
  for (int axis = 0; axis < 3; ++axis) {
    Shape one = shape;
    one[axis] = 1;
    ExpectConforms(
        {"concat", op::Concat{.axis = axis}, {Floats(shape, 1), Floats(one, 2), Floats(shape, 3)}});
  }
}

TEST(MovementConformance, UpsampleHolds) {
  ExpectConforms({"upsample", op::UpsampleNearest2x{}, {Floats({2, 17, 19, 3}, 1)}});
}

TEST(MovementConformance, EmbeddingHoldsForQuantizedTables) {
  const int32_t values[] = {0, 9, 3, 3, 1, 7};
  Operand ids;
  ids.dtype = DType::kI32;
  ids.shape = {2, 3};
  ids.bytes.resize(sizeof values);
  std::memcpy(ids.bytes.data(), values, sizeof values);
  for (DType dtype : {DType::kF32, DType::kBF16, DType::kQ8_0, DType::kQ5_K}) {
    ExpectConforms(
        {std::string(Name(dtype)), op::Embedding{}, {ids, RandomOperand(dtype, {10, 512}, 1)}});
  }
}

}  // namespace
}  // namespace ingot::conformance
