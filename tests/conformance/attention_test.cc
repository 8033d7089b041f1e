// Attention against its reference.
#include <gtest/gtest.h>

#include <fmt/format.h>

#include "harness.h"

namespace ingot::conformance {
namespace {

// Values are means of numbers below 1 under weights that sum to 1; scores of f32 sums of Dh terms
// are off by some 2^-24 * sqrt(Dh), and so are the weights. Measured: 6e-7.
constexpr double kTolerance = 3e-6;

struct Size {
  int64_t pictures, heads, queries, keys, head_dim;
};

Case MakeCase(const Size& size, const op::Attention& op, int64_t bias_pictures = 0) {
  const Shape keys = {size.pictures, size.keys, size.heads, size.head_dim};
  Case test{.name = fmt::format("q [{}, {}, {}, {}], {} keys", size.pictures, size.heads,
                                size.queries, size.head_dim, size.keys),
            .op = op,
            .inputs = {RandomOperand(DType::kF32,
                                     {size.pictures, size.queries, size.heads, size.head_dim}, 1),
                       RandomOperand(DType::kF32, keys, 2), RandomOperand(DType::kF32, keys, 3)},
            .tolerance = kTolerance};
  if (bias_pictures > 0) {
    test.inputs.push_back(
        RandomOperand(DType::kF32, {bias_pictures, size.heads, size.queries, size.keys}, 4));
  }
  return test;
}

TEST(AttentionConformance, HoldsForHeadsOfTheModels) {
  for (int64_t head_dim : {64, 128, 512}) {
    ExpectConforms(MakeCase({1, 2, 100, 160, head_dim}, {.scale = 0.125f}));
  }
}

TEST(AttentionConformance, HoldsForSizesAroundTheTiles) {
  for (int64_t queries : {1, 31, 32, 33, 64, 65}) {
    for (int64_t keys : {1, 5, 7, 77}) {
      ExpectConforms(MakeCase({1, 1, queries, keys, 40}, {.scale = 0.2f}));
    }
  }
  for (int64_t head_dim : {1, 3, 15, 33}) {
    ExpectConforms(MakeCase({2, 3, 9, 11, head_dim}, {.scale = 0.2f}));
  }
}

TEST(AttentionConformance, HoldsForCausal) {
  for (int64_t length : {1, 32, 77}) {
    ExpectConforms(MakeCase({2, 2, length, length, 64}, {.scale = 0.125f, .causal = true}));
  }
  ExpectConforms(MakeCase({1, 2, 50, 20, 16}, {.scale = 0.25f, .causal = true}));
  ExpectConforms(MakeCase({1, 2, 20, 50, 16}, {.scale = 0.25f, .causal = true}));
}

TEST(AttentionConformance, AddsTheBiasOfAPictureOrOfAll) {
  ExpectConforms(MakeCase({2, 3, 45, 70, 64}, {.scale = 1.0f}, 1));
  ExpectConforms(MakeCase({2, 3, 45, 70, 64}, {.scale = 1.0f}, 2));
}

// Scores to +-1000: without the subtraction of the largest, exp would overflow.
TEST(AttentionConformance, HoldsForLargeScores) {
  Case test = MakeCase({1, 1, 40, 40, 64}, {.scale = 100.0f});
  test.tolerance = 2e-4;  // scores of this size are themselves off by 1000 * 2^-24
  ExpectConforms(test);
}

}  // namespace
}  // namespace ingot::conformance
