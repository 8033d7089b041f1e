// Attention of the CUDA device against its reference.
#include <gtest/gtest.h>

#include <fmt/format.h>

#include <cmath>
#include <limits>
#include <utility>

#include "attention_cases.h"
#include "cuda_harness.h"

namespace ingot::conformance {
namespace {

// Outputs are means of numbers below 1 under weights that sum to 1. In f32, scores of Dh terms are
// off by some 2^-24 * sqrt(Dh), and so are the weights; measured: 4.5e-7. On tensor cores q, k, v
// and the weights are rounded to bf16, by 2^-8 of themselves at most, and the largest output is
// smaller than the largest value, whose rounding does not average out as much; measured: 3.6e-3.
double ToleranceOf(const op::Attention& op) {
  return op.compute == op::Compute::kF32 || op.causal ? 3e-6 : 8e-3;
}

constexpr op::Compute kComputes[] = {op::Compute::kF32, op::Compute::kI16};

Case MakeCase(const AttentionSize& size, const op::Attention& op, int64_t bias_pictures = 0) {
  Case test = MakeAttentionCase(size, op, bias_pictures);
  test.tolerance = ToleranceOf(op);
  return test;
}

float ScaleOf(int64_t head_dim) { return 1.0f / std::sqrt(static_cast<float>(head_dim)); }

TEST(CudaAttention, HoldsForHeadsOfTheModels) {
  for (op::Compute compute : kComputes) {
    for (int64_t head_dim : {32, 40, 64, 128}) {
      ExpectCudaConforms(
          MakeCase({1, 2, 70, 100, head_dim}, {.scale = ScaleOf(head_dim), .compute = compute}));
    }
    ExpectCudaConforms(MakeCase({1, 1, 33, 70, 512}, {.scale = ScaleOf(512), .compute = compute}));
  }
}

TEST(CudaAttention, HoldsForSizesAroundTheTiles) {
  for (op::Compute compute : kComputes) {
    for (const auto& [queries, keys] : {std::pair{1, 1}, {17, 63}, {64, 65}, {65, 64}}) {
      ExpectCudaConforms(MakeCase({1, 1, queries, keys, 40}, {.scale = 0.2f, .compute = compute}));
    }
    for (int64_t head_dim : {1, 15, 17, 88, 136, 272}) {
      ExpectCudaConforms(MakeCase({2, head_dim < 100 ? 3 : 1, 9, 35, head_dim},
                                  {.scale = 0.2f, .compute = compute}));
    }
  }
}

TEST(CudaAttention, IsExactForCausalAtEveryCompute) {
  for (op::Compute compute : kComputes) {
    ExpectCudaConforms(
        MakeCase({2, 2, 77, 77, 64}, {.scale = 0.125f, .causal = true, .compute = compute}));
  }
  ExpectCudaConforms(MakeCase({1, 2, 70, 20, 16}, {.scale = 0.25f, .causal = true}));
  ExpectCudaConforms(MakeCase({1, 2, 20, 70, 16}, {.scale = 0.25f, .causal = true}));
}

TEST(CudaAttention, AddsTheBiasOfAPictureOrOfAll) {
  for (op::Compute compute : kComputes) {
    for (int64_t pictures : {1, 2}) {
      ExpectCudaConforms(
          MakeCase({2, 2, 45, 70, 32}, {.scale = 0.5f, .compute = compute}, pictures));
    }
  }
}

// -infinity hides a key, in whole blocks too.
TEST(CudaAttention, HidesKeysBehindAnInfiniteBias) {
  for (op::Compute compute : kComputes) {
    Case test = MakeCase({1, 1, 20, 150, 16}, {.scale = 0.2f, .compute = compute}, 1);
    float* bias = Values(test.inputs[3]);
    for (size_t i = 0; i < 20; ++i) {
      for (size_t j = 0; j < 150; ++j) {
        if (j < 70 + i || j > 75 + i) bias[i * 150 + j] = -std::numeric_limits<float>::infinity();
      }
    }
    ExpectCudaConforms(test);
  }
}

// Scores to +-1000: without the subtraction of the largest, exp would overflow.
TEST(CudaAttention, HoldsForLargeScores) {
  Case test = MakeCase({1, 1, 40, 70, 64}, {.scale = 100.0f});
  test.tolerance = 4e-4;  // scores of this size are themselves off by 1000 * 2^-24, twice
  ExpectCudaConforms(test);
}

// --- Beside the harness ------------------------------------------------------------

// At any token indeed: where a query is in its block and tile changes no bit.
TEST(CudaAttention, QueriesCutAnywhereHaveTheSameBits) {
  for (op::Compute compute : kComputes) {
    for (const auto& [queries, cut] : {std::pair{300, 256}, {90, 37}}) {
      const Case whole = MakeCase({1, 2, queries, 40, 24}, {.scale = 0.5f, .compute = compute});
      std::vector<float> parts = RunCuda(QueriesOf(whole, 0, cut));
      const std::vector<float> rest = RunCuda(QueriesOf(whole, cut, queries - cut));
      parts.insert(parts.end(), rest.begin(), rest.end());
      EXPECT_EQ(parts, RunCuda(whole)) << queries << " cut at " << cut;
    }
  }
}

// What rounding q, k, v and the weights to bf16 costs, as relative RMS error for normal q, k, v
// with scores of standard deviation 1 (devices/cpu/attention.h: 3.2e-3).
TEST(CudaAttention, IsAsGoodAsBf16) {
  for (int64_t head_dim : {64, 128}) {
    const Case test = NormalAttentionCase({1, 1, 64, 320, head_dim}, 1.0, op::Compute::kI16);
    const double error = RelativeRms(RunCuda(test), RunReference(test));
    EXPECT_GT(error, 1e-3);  // not by way of kF32
    EXPECT_LE(error, 4.5e-3) << "Dh " << head_dim;
    RecordProperty(fmt::format("error_{}", head_dim), fmt::format("{:.2e}", error));
  }
}

// A NaN or infinity turns to NaN what depends on it, and nothing else.
TEST(CudaAttention, TurnsNanAndInfinityToNan) {
  constexpr size_t kTokens = 70, kHeads = 2, kDim = 24;
  constexpr size_t kToken = 66, kHead = 1, kChannel = 17;
  constexpr size_t kAt = (kToken * kHeads + kHead) * kDim + kChannel;
  for (op::Compute compute : kComputes) {
    const Case test =
        MakeCase({1, kHeads, kTokens, kTokens, kDim}, {.scale = 0.2f, .compute = compute});
    for (float value :
         {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity()}) {
      for (size_t input_idx : {0, 2}) {
        Case bad = test;
        Values(bad.inputs[input_idx])[kAt] = value;
        const std::vector<float> out = RunCuda(bad);
        for (size_t i = 0; i < out.size(); ++i) {
          const size_t token = i / kDim / kHeads, head = i / kDim % kHeads, channel = i % kDim;
          const bool depends =
              head == kHead && (input_idx == 0 ? token == kToken : channel == kChannel);
          EXPECT_EQ(!std::isfinite(out[i]), depends) << input_idx << " at " << i;
        }
      }
    }
  }
}

}  // namespace
}  // namespace ingot::conformance
