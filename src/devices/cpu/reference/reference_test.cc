// The reference kernels against numbers worked out by hand or printed by torch 2 and transformers.
#include "devices/cpu/reference/reference.h"

#include <gtest/gtest.h>

#include <cmath>
#include <numeric>
#include <vector>

namespace ingot::cpu::reference {
namespace {

struct Tensor {
  Shape shape;
  std::vector<float> values;
};

template <typename T>
std::vector<float> Evaluate(const T& op, const std::vector<Tensor>& inputs) {
  std::vector<Shape> shapes;
  std::vector<ConstTensorView> views;
  for (const Tensor& input : inputs) {
    EXPECT_EQ(static_cast<size_t>(input.shape.num_elements()), input.values.size());
    shapes.push_back(input.shape);
    views.push_back(
        {DType::kF32, input.shape, reinterpret_cast<const std::byte*>(input.values.data())});
  }
  const op::Op any_op = op;
  const Shape out_shape = op::InferShape(any_op, shapes);
  std::vector<float> out(static_cast<size_t>(out_shape.num_elements()), NAN);
  ThreadPool pool(1);
  Run(op,
      {.op = &any_op,
       .inputs = views,
       .output = {DType::kF32, out_shape, reinterpret_cast<std::byte*>(out.data())},
       .workspace = {}},
      pool);
  return out;
}

// Printed with 9 digits from f32, so one rounding apart.
void ExpectNear(const std::vector<float>& found, const std::vector<float>& expected) {
  ASSERT_EQ(found.size(), expected.size());
  for (size_t i = 0; i < found.size(); ++i) {
    EXPECT_NEAR(found[i], expected[i], 4e-7f * std::max(1.0f, std::abs(expected[i]))) << i;
  }
}

std::vector<float> Iota(size_t count) {
  std::vector<float> values(count);
  std::iota(values.begin(), values.end(), 0.0f);
  return values;
}

const Tensor kQueries = {{1, 2, 1, 2}, {1, 0, 0, 2}};
const Tensor kKeys = {{1, 3, 1, 2}, {1, 1, 0, 1, 2, 0}};
const Tensor kValues = {{1, 3, 1, 2}, {1, 0, 0, 1, 1, 1}};

TEST(ReferenceAttention, IsTorchs) {
  ExpectNear(Evaluate(op::Attention{.scale = 0.5f}, {kQueries, kKeys, kValues}),
             {0.813676298f, 0.692804098f, 0.577681184f, 0.577681184f});
}

TEST(ReferenceAttention, SeesNoLaterKeyWhenCausal) {
  ExpectNear(Evaluate(op::Attention{.scale = 0.5f, .causal = true}, {kQueries, kKeys, kValues}),
             {1.0f, 0.0f, 0.5f, 0.5f});
}

TEST(ReferenceAttention, AddsTheBiasAfterTheScale) {
  const Tensor bias = {{1, 1, 2, 3}, {0, 1, 0, 0, 0, -1e30f}};
  ExpectNear(Evaluate(op::Attention{.scale = 0.5f}, {kQueries, kKeys, kValues, bias}),
             {0.616348267f, 0.767303467f, 0.5f, 0.5f});
}

TEST(ReferenceUnary, IsTorchs) {
  const Tensor x = {{5}, {-2.0f, -0.5f, 0.0f, 1.0f, 3.0f}};
  ExpectNear(Evaluate(op::Unary{op::UnaryKind::kSilu}, {x}),
             {-0.238405839f, -0.188770339f, 0.0f, 0.731058598f, 2.857722521f});
  ExpectNear(Evaluate(op::Unary{op::UnaryKind::kGeluTanh}, {x}),
             {-0.045402288f, -0.154285997f, 0.0f, 0.841192007f, 2.996362686f});
  ExpectNear(Evaluate(op::Unary{op::UnaryKind::kQuickGelu}, {x}),
             {-0.064341374f, -0.149611562f, 0.0f, 0.845795751f, 2.981928825f});
}

TEST(ReferenceBinary, RepeatsDimensionsOfOne) {
  const Tensor a = {{2, 1, 3}, {1, 2, 3, 4, 5, 6}};
  const Tensor b = {{1, 2, 1}, {10, 100}};
  EXPECT_EQ(Evaluate(op::Binary{op::BinaryKind::kMul}, {a, b}),
            (std::vector<float>{10, 20, 30, 100, 200, 300, 40, 50, 60, 400, 500, 600}));
  EXPECT_EQ(Evaluate(op::Binary{op::BinaryKind::kAdd}, {b, a}),
            (std::vector<float>{11, 12, 13, 101, 102, 103, 14, 15, 16, 104, 105, 106}));
}

TEST(ReferenceNorm, LayerAndRmsAreTorchs) {
  const Tensor x = {{1, 4}, {1, 2, 3, 6}};
  const Tensor weight = {{4}, {1, 2, 3, 4}};
  const Tensor bias = {{4}, {0, 1, 0, -1}};
  ExpectNear(Evaluate(op::LayerNorm{1e-6f}, {x, weight, bias}),
             {-1.069044828f, -0.069044828f, 0.0f, 5.414268970f});
  ExpectNear(Evaluate(op::RmsNorm{1e-6f}, {x, weight}),
             {0.282842696f, 1.131370783f, 2.545584202f, 6.788224697f});
}

TEST(ReferenceNorm, GroupIsTorchs) {
  Tensor x = {{1, 2, 2, 4}, std::vector<float>(16)};  // the square of torch's index [c, y, x]
  for (size_t i = 0; i < 16; ++i) {
    const float index = static_cast<float>(i % 4 * 4 + i / 4);
    x.values[i] = index * index;
  }
  const Tensor weight = {{4}, {1, 2, 3, 4}};
  const Tensor bias = {{4}, {0, 1, 2, 3}};
  const std::vector<float> torchs = {-1.049108624f, -0.989159584f, -0.809312344f, -0.509567022f,
                                     0.820152760f,  1.899235964f,  3.218115330f,  4.776791096f,
                                     -2.168361187f, -1.204250455f, -0.126714915f, 1.064245462f,
                                     3.491507530f,  5.381920815f,  7.423566818f,  9.616446495f};
  std::vector<float> expected(16);
  for (size_t i = 0; i < 16; ++i) expected[i] = torchs[i % 4 * 4 + i / 4];
  ExpectNear(Evaluate(op::GroupNorm{.num_groups = 2, .eps = 1e-6f}, {x, weight, bias}), expected);
}

TEST(ReferencePosition, TimestepEmbeddingIsCosThenSin) {
  // Frequencies 1 and 10000^(-1/2) = 1/100 of 1000 * 0.002 = 2 radians.
  ExpectNear(Evaluate(op::TimestepEmbedding{.dim = 4}, {{{1}, {0.002f}}}),
             {std::cos(2.0f), std::cos(0.02f), std::sin(2.0f), std::sin(0.02f)});
}

TEST(ReferencePosition, RopeTurnsPairsByTheTable) {
  // Axis 0 has one frequency, axis 1 two: 1 and 100^(-2/4) = 1/10; axis 2 one.
  const std::vector<float> table = Evaluate(op::RopeTable{.axes_dim = {2, 4, 2}, .theta = 100.0f},
                                            {{{1, 1, 3}, {1.0f, 2.0f, 3.0f}}});
  ExpectNear(table, {std::cos(1.0f), std::sin(1.0f), std::cos(2.0f), std::sin(2.0f), std::cos(0.2f),
                     std::sin(0.2f), std::cos(3.0f), std::sin(3.0f)});
  // Two heads; a quarter turn of (a, b) is (-b, a).
  EXPECT_EQ(Evaluate(op::Rope{}, {{{1, 1, 2, 4}, {1, 2, 3, 4, 5, 6, 7, 8}},
                                  {{1, 1, 2, 2}, {0.0f, 1.0f, 1.0f, 0.0f}}}),
            (std::vector<float>{-2, 1, 3, 4, -6, 5, 7, 8}));
}

TEST(ReferencePosition, RopeTakesTheTableOfItsPicture) {
  EXPECT_EQ(Evaluate(op::Rope{}, {{{2, 2, 1, 2}, {1, 2, 1, 2, 1, 2, 1, 2}},
                                  {{2, 2, 1, 2}, {1, 0, 0, 1, -1, 0, 0, -1}}}),
            (std::vector<float>{1, 2, -2, 1, -1, -2, 2, -1}));
}

// The distance at which each of the 16 buckets of one direction begins, from
// T5Attention._relative_position_bucket(range(-600, 601), True, 32, 128).
TEST(ReferencePosition, T5BucketsAreTransformersUpTo600) {
  constexpr int kBegins[] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 12, 16, 23, 32, 46, 64, 91};
  constexpr size_t kLength = 601;
  const std::vector<float> bucket =
      Evaluate(op::RelativePositionBias{.length = kLength}, {{{32, 1}, Iota(32)}});
  for (size_t distance = 0; distance < kLength; ++distance) {
    int expected = 0;
    while (expected < 15 && static_cast<size_t>(kBegins[expected + 1]) <= distance) ++expected;
    const size_t row = kLength - 1;
    EXPECT_EQ(bucket[distance], static_cast<float>(distance > 0 ? 16 + expected : 0)) << distance;
    EXPECT_EQ(bucket[row * kLength + row - distance], static_cast<float>(expected)) << -distance;
  }
}

TEST(ReferencePosition, T5BiasHasAPlanePerHead) {
  EXPECT_EQ(Evaluate(op::RelativePositionBias{.length = 2},
                     {{{32, 2}, Iota(64)}}),  // element [bucket, head] = 2 bucket + head
            (std::vector<float>{0, 34, 2, 0, 1, 35, 3, 1}));
}

TEST(ReferenceMovement, PermuteSliceConcatUpsample) {
  const Tensor x = {{2, 3, 1}, {1, 2, 3, 4, 5, 6}};
  EXPECT_EQ(Evaluate(op::Permute{.axes = {1, 2, 0}}, {x}), (std::vector<float>{1, 4, 2, 5, 3, 6}));
  EXPECT_EQ(Evaluate(op::Slice{.axis = 1, .begin = 1, .end = 3}, {x}),
            (std::vector<float>{2, 3, 5, 6}));
  EXPECT_EQ(Evaluate(op::Concat{.axis = 1}, {x, {{2, 1, 1}, {7, 8}}}),
            (std::vector<float>{1, 2, 3, 7, 4, 5, 6, 8}));
  EXPECT_EQ(Evaluate(op::UpsampleNearest2x{}, {{{1, 2, 2, 1}, {1, 2, 3, 4}}}),
            (std::vector<float>{1, 1, 2, 2, 1, 1, 2, 2, 3, 3, 4, 4, 3, 3, 4, 4}));
}

}  // namespace
}  // namespace ingot::cpu::reference
