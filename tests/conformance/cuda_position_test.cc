// Tables of positions and turns by them, of the CUDA device against their reference.
#include <gtest/gtest.h>

#include "cuda_harness.h"

namespace ingot::conformance {
namespace {

// Heads with half a quad, with idle lanes, with one quad a lane, and wider than a warp takes.
const Shape kShapes[] = {{1, 5, 3, 6}, {2, 7, 3, 16}, {2, 9, 2, 128}, {1, 2, 2, 1028}};

Operand TableFor(const Shape& x) { return Floats({x[0], x[1], x[3] / 2, 2}, 2); }

TEST(CudaRope, Holds) {
  for (const Shape& x : kShapes) {
    const int64_t row = x[2] * x[3];
    ExpectCudaConforms({x.ToString(),
                        op::Rope{},
                        {Floats(x, 1), TableFor(x)},
                        1.2e-7,  // two roundings of 2^-24
                        {row, 0, row}});
  }
}

TEST(CudaRmsNormRope, Holds) {
  for (const Shape& x : kShapes) {
    const int64_t row = x[2] * x[3];
    ExpectCudaConforms({x.ToString(),
                        op::RmsNormRope{.eps = 1e-6f},
                        {Floats(x, 1), Floats({x[3]}, 3), TableFor(x)},
                        4e-7,  // four roundings, and the sum of squares
                        {row, 0, 0, row}});
  }
}

TEST(CudaRmsNormRope, HasTheBitsOfNormThenRope) {
  for (const Shape& shape : kShapes) {
    const Operand x = Floats(shape, 1), weight = Floats({shape[3]}, 3), table = TableFor(shape);
    const std::vector<float> norm = RunCuda({"norm", op::RmsNorm{.eps = 1e-6f}, {x, weight}});
    EXPECT_EQ(RunCuda({"rope", op::Rope{}, {FloatsOf(shape, norm), table}}),
              RunCuda({"fused", op::RmsNormRope{.eps = 1e-6f}, {x, weight, table}}));
  }
}

// Angles in double: one rounding of 2^-24 is left.
constexpr double kTableTolerance = 6e-8;

TEST(CudaTimestepEmbedding, Holds) {
  for (int64_t dim : {2, 256, 258}) {
    ExpectCudaConforms({std::to_string(dim),
                        op::TimestepEmbedding{.dim = dim},
                        {FloatsOf({3}, {1.0f, 0.0f, 0.7371f})},
                        kTableTolerance});
  }
}

TEST(CudaRopeTable, HoldsForNumbersOfTokensThatAreLarge) {
  const Operand ids = FloatsOf({2, 2, 3}, {0, 0, 0, 1, 2, 3, 0, 4095, 77, 65535, 1e6f, 5});
  for (const auto& axes_dim : {std::array{16, 56, 56}, std::array{2, 0, 6}}) {
    ExpectCudaConforms({"table", op::RopeTable{.axes_dim = axes_dim}, {ids}, kTableTolerance});
  }
}

TEST(CudaRelativePositionBias, Holds) {
  for (int64_t length : {1, 2, 77, 300}) {
    ExpectCudaConforms(
        {std::to_string(length), op::RelativePositionBias{.length = length}, {Floats({32, 3}, 1)}});
  }
}

}  // namespace
}  // namespace ingot::conformance
