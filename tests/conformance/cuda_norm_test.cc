// Normalizations of the CUDA device against their reference.
#include <gtest/gtest.h>

#include "cuda_harness.h"

namespace ingot::conformance {
namespace {

// Sums in double, and a few roundings of 2^-24 for each element.
constexpr double kTolerance = 5e-7;

Operand Floats(const Shape& shape, uint32_t seed) {
  return RandomOperand(DType::kF32, shape, seed);
}

TEST(CudaGroupNorm, HoldsForF32AndF16) {
  for (DType dtype : {DType::kF32, DType::kF16}) {
    for (int64_t size : {1, 3, 17}) {
      const Operand x = RandomOperand(dtype, {2, size, size + 1, 36}, 1);
      ExpectCudaConforms({x.shape.ToString(),
                          op::GroupNormStats{.num_groups = 6, .eps = 1e-3f},
                          {x},
                          kTolerance,
                          {36, 2}});
      ExpectCudaConforms({x.shape.ToString(),
                          op::GroupNorm{.num_groups = 6, .eps = 1e-3f},
                          {x, Floats({36}, 2), Floats({36}, 3)},
                          kTolerance,
                          {36, 36, 36, 36}});
    }
  }
}

}  // namespace
}  // namespace ingot::conformance
