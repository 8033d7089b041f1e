#include "base/status.h"

#include <gtest/gtest.h>

#include <memory>

namespace ingot {
namespace {

Result<int> Half(int value) {
  if (value % 2 != 0) return InvalidArgument("value: expected an even number, found {}", value);
  return value / 2;
}

Result<int> Quarter(int value) {
  INGOT_ASSIGN_OR_RETURN(const int half, Half(value));
  return Half(half);
}

TEST(Status, FactoryFillsCodeAndMessage) {
  const Status status = Corruption("{}: magic is {}", "a.gguf", 7);
  EXPECT_EQ(status.code(), StatusCode::kCorruption);
  EXPECT_EQ(status.message(), "a.gguf: magic is 7");
}

TEST(Result, AssignOrReturnPassesTheFirstError) {
  EXPECT_EQ(*Quarter(8), 2);
  EXPECT_EQ(Quarter(6).status().message(), "value: expected an even number, found 3");
}

TEST(Result, HoldsMoveOnlyValues) {
  Result<std::unique_ptr<int>> result = std::make_unique<int>(3);
  const std::unique_ptr<int> value = *std::move(result);
  EXPECT_EQ(*value, 3);
}

}  // namespace
}  // namespace ingot
