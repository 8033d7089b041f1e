#include "memory/cost.h"

#include <gtest/gtest.h>

#include <vector>

namespace ingot {
namespace {

OpCost CostOfOp(const op::Op& op, const std::vector<Shape>& shapes, DType weight_dtype) {
  std::vector<DType> dtypes(shapes.size(), DType::kF32);
  dtypes[1] = weight_dtype;
  return CostOf({&op, shapes, dtypes, op::InferShape(op, shapes), DType::kF32});
}

TEST(CostTest, LinearHasTwoOpsForEachProductAndUnpacksItsWeightOnce) {
  op::Linear linear;
  linear.compute = op::Compute::kI8;
  const OpCost cost = CostOfOp(linear, {{1, 7, 64}, {32, 64}}, DType::kQ8_0);
  EXPECT_EQ(cost.product, Product::kLinearI8);
  EXPECT_EQ(cost.num_ops, 2 * 7 * 64 * 32);
  EXPECT_EQ(cost.num_weights, 64 * 32);
  EXPECT_EQ(cost.num_filters, 0);
  EXPECT_EQ(cost.num_bytes, 4 * 7 * (64 + 32)) << "the weight is not among them";
}

TEST(CostTest, AttentionMultipliesTwice) {
  op::Attention attention;
  attention.compute = op::Compute::kI16;
  const Shape q = {1, 5, 3, 64}, k = {1, 9, 3, 64};
  const OpCost cost = CostOfOp(attention, {q, k, k}, DType::kF32);
  EXPECT_EQ(cost.product, Product::kAttentionI16);
  EXPECT_EQ(cost.num_ops, 2 * 2 * 3 * 5 * 9 * 64);
}

TEST(CostTest, ConvolutionCountsTheDirectSumAndLessWhereItUpsamples) {
  op::Conv2d conv{.pad_top = 1, .pad_left = 1, .pad_bottom = 1, .pad_right = 1};
  const std::vector<Shape> shapes = {{1, 4, 6, 16}, {8, 16, 3, 3}};
  EXPECT_EQ(CostOfOp(conv, shapes, DType::kF32).num_ops, 2 * 9 * 16 * 8 * 4 * 6);
  EXPECT_EQ(CostOfOp(conv, shapes, DType::kF32).num_filters, 9 * 16 * 8);
  conv.upsample = true;
  EXPECT_DOUBLE_EQ(CostOfOp(conv, shapes, DType::kF32).num_ops,
                   2.0 * 9 * 16 * 8 * 4 * 6 * 4 * 2 / 3);
}

TEST(CostTest, SecondsAddUp) {
  DeviceRates rates = {.weights = 10, .filters = 20, .bytes = 100, .calls = 2};
  rates.ops.fill(1);
  rates.ops[static_cast<size_t>(Product::kConvI16)] = 4;
  EXPECT_DOUBLE_EQ(Seconds({.num_bytes = 50}, rates), 0.5 + 0.5);
  EXPECT_DOUBLE_EQ(Seconds({.num_ops = 3, .num_weights = 10, .num_bytes = 50}, rates),
                   0.5 + 0.5 + 3 + 1);
  EXPECT_DOUBLE_EQ(Seconds({.product = Product::kConvI16, .num_ops = 4, .num_filters = 10}, rates),
                   0.5 + 1 + 0.5);
}

}  // namespace
}  // namespace ingot
