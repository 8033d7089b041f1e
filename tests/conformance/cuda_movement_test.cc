// Ops that move elements, of the CUDA device against their reference: the same numbers.
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "cuda_harness.h"
#include "movement_cases.h"

namespace ingot::conformance {
namespace {

TEST(CudaPermute, HoldsForEveryOrder) {
  for (const Shape& x : {Shape({2, 3, 5, 7}), Shape({1, 4, 3, 8}), Shape({5, 1, 3, 1})}) {
    for (const Case& test : PermuteCases(x)) ExpectCudaConforms(test);
  }
}

TEST(CudaPermute, HoldsAcrossBlocksAndTiles) {
  ExpectCudaConforms({"heads", op::Permute{.axes = {0, 2, 1, 3}}, {Floats({2, 37, 3, 64}, 1)}});
  ExpectCudaConforms({"wide rows", op::Permute{.axes = {1, 0, 2}}, {Floats({2, 3, 1100}, 1)}});
  ExpectCudaConforms({"matrix", op::Permute{.axes = {1, 0}}, {Floats({65, 70}, 1)}});
  ExpectCudaConforms({"matrices", op::Permute{.axes = {2, 1, 0, 3}}, {Floats({2, 3, 5, 33}, 1)}});
  ExpectCudaConforms(
      {"channels last", op::Permute{.axes = {0, 2, 3, 1}}, {Floats({2, 3, 9, 8}, 1)}});
  ExpectCudaConforms(
      {"pixels", op::Permute{.axes = {0, 3, 1, 4, 2, 5}}, {Floats({1, 4, 6, 5, 2, 2}, 1)}});
  ExpectCudaConforms({"one element", op::Permute{.axes = {1, 0}}, {Floats({1, 1}, 1)}});
}

TEST(CudaSlice, HoldsForEveryAxis) {
  for (const Case& test : SliceCases({3, 4, 5}, 1, 3)) ExpectCudaConforms(test);
  for (const Case& test : SliceCases({13, 14, 16}, 4, 12)) ExpectCudaConforms(test);
  ExpectCudaConforms(
      {"columns", op::Slice{.axis = 1, .begin = 64, .end = 1364}, {Floats({3, 1400}, 1)}});
}

TEST(CudaConcat, HoldsForEveryAxis) {
  for (const Shape& x : {Shape({5, 6, 7}), Shape({3, 4, 16})}) {
    for (const Case& test : ConcatCases(x)) ExpectCudaConforms(test);
  }
  ExpectCudaConforms(
      {"columns", op::Concat{.axis = 1}, {Floats({2, 64}, 1), Floats({2, 1100}, 2)}});
}

TEST(CudaUpsample, Holds) {
  for (const Shape& x : {Shape({2, 3, 5, 3}), Shape({2, 3, 1, 8}), Shape({1, 1, 1, 1})}) {
    ExpectCudaConforms({x.ToString(), op::UpsampleNearest2x{}, {Floats(x, 1)}});
  }
}

TEST(CudaEmbedding, HoldsForPlainAndQuantizedTables) {
  for (DType dtype : {DType::kF32, DType::kF16, DType::kBF16, DType::kQ8_0, DType::kQ5_K}) {
    ExpectCudaConforms(EmbeddingCase(dtype));
  }
}

TEST(CudaTakeRow, Holds) {
  ExpectCudaConforms({"rows", op::TakeRow{}, {Floats({3, 5, 300}, 1), Ids({3}, {4, 0, 2})}});
}

// Neither reads beyond its operand.
TEST(CudaIndex, ThatNamesNoRowGivesARowOfNaN) {
  constexpr int32_t kLeast = std::numeric_limits<int32_t>::min();
  constexpr int32_t kMost = std::numeric_limits<int32_t>::max();
  const Operand ids = Ids({4}, {kLeast, -1, 5, kMost});
  for (const std::vector<float>& found :
       {RunCuda({"", op::TakeRow{}, {Floats({4, 5, 64}, 1), ids}}),
        RunCuda({"", op::Embedding{}, {ids, RandomOperand(DType::kQ8_0, {5, 64}, 1)}})}) {
    ASSERT_EQ(found.size(), 4u * 64u);
    for (float value : found) ASSERT_TRUE(std::isnan(value));
  }
}

}  // namespace
}  // namespace ingot::conformance
