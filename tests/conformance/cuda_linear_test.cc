// Linear on the CUDA device against its reference.
#include <gtest/gtest.h>

#include "cuda_harness.h"
#include "devices/cuda/dequantize.h"
#include "linear_cases.h"

namespace ingot::conformance {
namespace {

using op::Compute;

// As of the CPU's kernels (linear_test.cc): f32 sums of K <= 1025 terms, 2^-24 * sqrt(K) = 1.9e-6.
// Largest found: 1.9e-6.
constexpr double kF32Tolerance = 3e-6;
// Rows and weight rounded to bf16 are each off by 2^-9 at most, 2^-9 / sqrt(3) as a deviation;
// errors of random sign stay in that ratio to the sum: 1.6e-3 of two factors, and as many
// deviations in the largest of the errors as in the largest of the sums. A gated or normalized row
// has few large values, so up to twice that. Largest found: 3.0e-3.
constexpr double kBF16Tolerance = 4e-3;

double ToleranceOf(Compute compute) {
  return compute == Compute::kF32 ? kF32Tolerance : kBF16Tolerance;
}

// With rows in runs where the device takes them.
Case WithRows(Case test, Compute compute) {
  test.tolerance = ToleranceOf(compute);
  const auto at = op::OperandsOf(std::get<op::Linear>(test.op));
  for (const Operand& operand : test.inputs) test.row_elements.push_back(operand.shape.back());
  test.row_elements.push_back(test.inputs[static_cast<size_t>(at.weight)].shape[0]);
  return test;
}

TEST(CudaLinear, HoldsForEveryWeightTypeInF32AndBF16) {
  for (int i = 0; i < kNumDTypes; ++i) {
    const auto dtype = static_cast<DType>(i);
    if (!cuda::IsWeightType(dtype)) continue;
    for (Compute compute : {Compute::kF32, Compute::kI8}) {
      ExpectCudaConforms(WithRows(MakeLinearCase(compute, {1, 3, 33, 512}, dtype), compute));
    }
  }
}

TEST(CudaLinear, HoldsForEveryPrologueAndEpilogue) {
  // In columns by fours, and not.
  for (const LinearSize& size : {LinearSize{2, 3, 36, 300}, LinearSize{2, 3, 37, 303}}) {
    ForEveryFusion([&](op::Prologue prologue, op::Epilogue epilogue) {
      for (Compute compute : {Compute::kF32, Compute::kI16}) {
        ExpectCudaConforms(
            WithRows(MakeFusedLinearCase(compute, size, DType::kF16, prologue, epilogue), compute));
      }
    });
  }
}

TEST(CudaLinear, HoldsForAnyK) {
  for (int64_t k : {1, 3, 255, 1025}) {
    for (Compute compute : {Compute::kF32, Compute::kI8}) {
      ExpectCudaConforms(WithRows(MakeFusedLinearCase(compute, {1, 2, 5, k}, DType::kBF16,
                                                      op::Prologue::kGeluTanh, op::Epilogue::kNone),
                                  compute));
    }
  }
}

TEST(CudaLinear, AppliesTheScaleOfAWeightAndTakesOneAtAnyAddress) {
  // F32 and BF16 are those that a product reads where they lie, if nothing is to be done to them.
  for (DType dtype : {DType::kF32, DType::kBF16, DType::kF8E4M3}) {
    for (Compute compute : {Compute::kF32, Compute::kI8}) {
      Case test = WithRows(MakeLinearCase(compute, {1, 3, 33, 64}, dtype), compute);
      test.inputs[1].scale = 0.375f;
      ExpectCudaConforms(test);
    }
  }
}

TEST(CudaLinear, TakesOuterDimensionsAsRowsAndNoBias) {
  Case test = WithRows(MakeLinearCase(Compute::kF32, {1, 12, 20, 64}, DType::kQ4_0), Compute::kF32);
  test.inputs[0].shape = {2, 3, 2, 64};
  test.inputs.pop_back();
  test.row_elements.erase(test.row_elements.begin() + 2);
  std::get<op::Linear>(test.op).has_bias = false;
  ExpectCudaConforms(test);
}

TEST(CudaLinear, GivesRowsOfAPictureTheBitsOfTheWhole) {
  ForEveryFusion([](op::Prologue prologue, op::Epilogue epilogue) {
    for (Compute compute : {Compute::kF32, Compute::kI8}) {
      const Case all =
          MakeFusedLinearCase(compute, {2, 7, 36, 320}, DType::kQ8_0, prologue, epilogue);
      std::vector<float> found;
      for (int64_t picture : {0, 1}) {
        for (const auto& [begin, count] : {std::pair{0, 4}, std::pair{4, 3}}) {
          const std::vector<float> rows = RunCuda(RowsOfPicture(all, picture, begin, count));
          found.insert(found.end(), rows.begin(), rows.end());
        }
      }
      EXPECT_EQ(found, RunCuda(all)) << all.name;
    }
  });
}

TEST(CudaLinear, TakesAWeightInPieces) {
  // 256 rows of this K are more than a piece should have, so there are pieces of 256 and 44 rows.
  const Case test = MakeFusedLinearCase(Compute::kF32, {1, 2, 300, 65792}, DType::kQ8_0,
                                        op::Prologue::kNone, op::Epilogue::kGatedAdd);
  // f32 sums of 65792 terms: 2^-24 * sqrt(K) = 1.5e-5.
  EXPECT_LE(RelativeError(RunCuda(test), RunReference(test)), 2e-5);
}

}  // namespace
}  // namespace ingot::conformance
