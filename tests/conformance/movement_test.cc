// Ops that move elements against their reference: the same numbers.
#include <gtest/gtest.h>

#include "movement_cases.h"

namespace ingot::conformance {
namespace {

TEST(MovementConformance, PermuteHoldsForEveryOrder) {
  for (const Shape& x : {Shape({2, 3, 5, 7}), Shape({1, 70, 3, 33}), Shape({40, 1, 35, 1})}) {
    for (const Case& test : PermuteCases(x)) ExpectConforms(test);
  }
}

TEST(MovementConformance, PermuteHoldsAcrossThePiecesOfTheThreads) {
  ExpectConforms({"heads", op::Permute{.axes = {0, 2, 1, 3}}, {Floats({1, 600, 3, 64}, 1)}});
  ExpectConforms({"matrix", op::Permute{.axes = {1, 0}}, {Floats({1100, 70}, 1)}});
  ExpectConforms(
      {"pixels", op::Permute{.axes = {0, 3, 1, 4, 2, 5}}, {Floats({1, 20, 30, 16, 2, 2}, 1)}});
}

TEST(MovementConformance, SliceHoldsForEveryAxis) {
  for (const Case& test : SliceCases({3, 4, 5}, 1, 3)) ExpectConforms(test);
  for (const Case& test : SliceCases({40, 50, 60}, 7, 39)) ExpectConforms(test);
}

TEST(MovementConformance, ConcatHoldsForEveryAxis) {
  for (const Case& test : ConcatCases({30, 41, 52})) ExpectConforms(test);
}

TEST(MovementConformance, UpsampleHolds) {
  ExpectConforms({"upsample", op::UpsampleNearest2x{}, {Floats({2, 17, 19, 3}, 1)}});
}

TEST(MovementConformance, EmbeddingHoldsForPlainAndQuantizedTables) {
  for (DType dtype : {DType::kF32, DType::kBF16, DType::kQ8_0, DType::kQ5_K}) {
    ExpectConforms(EmbeddingCase(dtype));
  }
}

}  // namespace
}  // namespace ingot::conformance
