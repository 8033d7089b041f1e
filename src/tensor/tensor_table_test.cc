#include "tensor/tensor_table.h"

#include <gtest/gtest.h>

namespace ingot {
namespace {

TEST(TensorTable, ErrorsNameFileTensorExpectedAndFound) {
  TensorTable table("a.gguf");
  table.Add("x.weight", {DType::kF16, {3, 4}});
  EXPECT_EQ(*table.GetShape("x.weight", 2), Shape({3, 4}));
  EXPECT_EQ(table.GetShape("x.weight", 1).status().message(),
            "a.gguf: tensor 'x.weight': expected 1 dimensions, found shape [3, 4]");
  EXPECT_EQ(table.GetShape("y", 1).status().message(),
            "a.gguf: expected tensor 'y' with 1 dimensions, found none");
}

TEST(TensorTable, CountsConsecutiveBlocksOnly) {
  TensorTable table("a");
  for (int i : {0, 1, 3}) table.Add(fmt::format("blocks.{}.w", i), {DType::kF32, {1}});
  EXPECT_EQ(table.CountBlocks("blocks", "w"), 2);
}

}  // namespace
}  // namespace ingot
