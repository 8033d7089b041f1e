// Attention against its reference.
#include <gtest/gtest.h>

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "attention_cases.h"
#include "devices/device.h"

namespace ingot::conformance {
namespace {

// Values are means of numbers below 1 under weights that sum to 1; scores of f32 sums of Dh terms
// are off by some 2^-24 * sqrt(Dh), and so are the weights. Measured in kF32: 6e-7. Integers: see
// devices/cpu/attention.h; measured over the cases here: 2e-3 and 3e-2 of the largest output.
double ToleranceOf(op::Compute compute) {
  if (compute == op::Compute::kF32) return 3e-6;
  return compute == op::Compute::kI16 ? 2e-3 : 3e-2;
}

constexpr op::Compute kAllComputes[] = {op::Compute::kF32, op::Compute::kI16, op::Compute::kI8};
constexpr op::Compute kIntegers[] = {op::Compute::kI16, op::Compute::kI8};

Case MakeCase(const AttentionSize& size, const op::Attention& op, int64_t bias_pictures = 0) {
  Case test = MakeAttentionCase(size, op, bias_pictures);
  test.tolerance = ToleranceOf(op.compute);
  return test;
}

TEST(AttentionConformance, HoldsForHeadsOfTheModels) {
  for (op::Compute compute : kAllComputes) {
    for (int64_t head_dim : {40, 64, 128, 512}) {
      const float scale = 1.0f / std::sqrt(static_cast<float>(head_dim));
      ExpectConforms(MakeCase({1, 2, 100, 300, head_dim}, {.scale = scale, .compute = compute}));
    }
  }
}

TEST(AttentionConformance, HoldsForSizesAroundTheTiles) {
  for (op::Compute compute : kAllComputes) {
    for (int64_t queries : {1, 31, 32, 33, 47, 48, 65, 95, 97}) {
      for (int64_t keys : {1, 5, 63, 65, 77}) {
        ExpectConforms(MakeCase({1, 1, queries, keys, 40}, {.scale = 0.2f, .compute = compute}));
      }
    }
    for (int64_t head_dim : {1, 3, 15, 33, 88}) {
      ExpectConforms(MakeCase({2, 3, 9, 11, head_dim}, {.scale = 0.2f, .compute = compute}));
    }
  }
}

TEST(AttentionConformance, HoldsForSizesAroundTheBlocksOfKeys) {
  for (op::Compute compute : kAllComputes) {
    for (int64_t keys : {255, 256, 257, 321, 1280}) {
      ExpectConforms(MakeCase({2, 2, 50, keys, 24}, {.scale = 0.3f, .compute = compute}));
    }
  }
}

// More than 16 MiB of packed keys and values.
TEST(AttentionConformance, HoldsForHeadsInGroups) {
  ExpectConforms(MakeCase({1, 3, 20, 4100, 512}, {.scale = 0.1f, .compute = op::Compute::kI16}));
}

TEST(AttentionConformance, HoldsForCausalAtEveryCompute) {
  for (op::Compute compute : kAllComputes) {
    const op::Attention op = {.scale = 0.125f, .causal = true, .compute = compute};
    for (int64_t length : {1, 32, 77}) {
      Case test = MakeCase({2, 2, length, length, 64}, op);
      test.tolerance = ToleranceOf(op::Compute::kF32);
      ExpectConforms(test);
    }
  }
  ExpectConforms(MakeCase({1, 2, 50, 20, 16}, {.scale = 0.25f, .causal = true}));
  ExpectConforms(MakeCase({1, 2, 20, 50, 16}, {.scale = 0.25f, .causal = true}));
}

TEST(AttentionConformance, AddsTheBiasOfAPictureOrOfAll) {
  for (op::Compute compute : kAllComputes) {
    for (int64_t pictures : {1, 2}) {
      ExpectConforms(MakeCase({2, 3, 45, 70, 64}, {.scale = 1.0f, .compute = compute}, pictures));
      ExpectConforms(MakeCase({2, 1, 50, 300, 64}, {.scale = 0.3f, .compute = compute}, pictures));
    }
  }
}

// Scores to +-1000: without the subtraction of the largest, exp would overflow.
TEST(AttentionConformance, HoldsForLargeScores) {
  Case test = MakeCase({1, 1, 40, 40, 64}, {.scale = 100.0f});
  test.tolerance = 2e-4;  // scores of this size are themselves off by 1000 * 2^-24
  ExpectConforms(test);
}

// Rounding q, k, v and P to bf16 costs 3.2e-3 at a deviation of 1 and 5.1e-3 at 2.5.
TEST(AttentionConformance, IntegersAreAsGoodAsTheirNames) {
  for (double deviation : {1.0, 2.5}) {
    for (int64_t head_dim : {64, 128, 512}) {
      for (op::Compute compute : kIntegers) {
        const Case test = NormalAttentionCase({1, head_dim == 512 ? 1 : 2, 96, 1280, head_dim},
                                              deviation, compute);
        const double error = RelativeRms(RunFast(test), RunReference(test));
        EXPECT_GT(error, 1e-5);  // not by way of kF32
        EXPECT_LE(error, ToleranceOf(compute)) << "Dh " << head_dim << ", deviation " << deviation;
        RecordProperty(
            fmt::format("error_{}_{}_{}", static_cast<int>(compute), head_dim, deviation),
            fmt::format("{:.2e}", error));
      }
    }
  }
}

TEST(AttentionConformance, QueriesCutAtTheGridHaveTheSameBits) {
  constexpr int64_t kQueries = 600;
  for (op::Compute compute : kAllComputes) {
    const Case whole = NormalAttentionCase({1, 2, kQueries, 300, 64}, 1.0, compute);
    std::vector<float> parts;
    for (int64_t begin = 0; begin < kQueries; begin += kRowGrid) {
      const std::vector<float> part =
          RunFast(QueriesOf(whole, begin, std::min(kRowGrid, kQueries - begin)));
      parts.insert(parts.end(), part.begin(), part.end());
    }
    EXPECT_EQ(parts, RunFast(whole));
  }
}

// What one NaN or infinity at element `at` of operand `input_idx` turns to NaN, by element.
std::vector<bool> NansFrom(Case test, size_t input_idx, size_t at, float value) {
  Values(test.inputs[input_idx])[at] = value;
  std::vector<bool> nans;
  for (float x : RunFast(test)) nans.push_back(std::isnan(x));
  return nans;
}

TEST(AttentionConformance, IntegersTurnNanAndInfinityToNan) {
  constexpr int64_t kTokens = 300, kHeads = 2, kDim = 24;
  constexpr size_t kToken = 280, kHead = 1, kChannel = 17;
  constexpr size_t kAt = (kToken * kHeads + kHead) * kDim + kChannel;
  for (op::Compute compute : kIntegers) {
    const Case test = NormalAttentionCase({1, kHeads, kTokens, kTokens, kDim}, 1.0, compute);
    for (float value :
         {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity(),
          -std::numeric_limits<float>::infinity()}) {
      const auto from_q = NansFrom(test, 0, kAt, value), from_k = NansFrom(test, 1, kAt, value),
                 from_v = NansFrom(test, 2, kAt, value);
      for (size_t i = 0; i < from_q.size(); ++i) {
        const size_t token = i / kDim / kHeads, head = i / kDim % kHeads, channel = i % kDim;
        EXPECT_EQ(from_q[i], head == kHead && token == kToken);
        EXPECT_EQ(from_k[i], head == kHead);
        EXPECT_EQ(from_v[i], head == kHead && channel == kChannel);
      }
    }
  }
}

TEST(AttentionConformance, IntegersHoldForZeros) {
  for (op::Compute compute : kIntegers) {
    for (size_t input_idx : {0, 1, 2}) {
      Case test = NormalAttentionCase({1, 1, 50, 70, 32}, 1.0, compute);
      test.tolerance = ToleranceOf(compute);
      std::fill(test.inputs[input_idx].bytes.begin(), test.inputs[input_idx].bytes.end(),
                std::byte{0});
      ExpectConforms(test);
    }
  }
}

// -infinity hides a key, in whole blocks too.
TEST(AttentionConformance, IntegersHideKeysBehindAnInfiniteBias) {
  for (op::Compute compute : kIntegers) {
    Case test = MakeCase({1, 1, 50, 600, 32}, {.scale = 0.2f, .compute = compute}, 1);
    float* bias = Values(test.inputs[3]);
    for (size_t i = 0; i < 50; ++i) {
      for (size_t j = i; j < 600; ++j) {
        if (j < 310 || j > 312) bias[i * 600 + j] = -std::numeric_limits<float>::infinity();
      }
    }
    ExpectConforms(test);
  }
}

}  // namespace
}  // namespace ingot::conformance
