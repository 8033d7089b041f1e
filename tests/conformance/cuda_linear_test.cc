// Linear on the CUDA device against its reference.
#include <gtest/gtest.h>

#include <array>
#include <cmath>
#include <cstring>
#include <limits>
#include <span>
#include <vector>

#include "cuda_harness.h"
#include "devices/cuda/dequantize.h"
#include "linear_cases.h"

namespace ingot::conformance {
namespace {

using op::Compute;

// As of the CPU's kernels (linear_test.cc): f32 sums of K <= 1025 terms, 2^-24 * sqrt(K) = 1.9e-6.
// Largest found: 1.9e-6.
constexpr double kF32Tolerance = 3e-6;
// Rows and weight rounded to bf16, 8 significant bits, are each off by 2^-8 at most, by 1.6e-3 as a
// deviation (2^-8 / sqrt(3), over a mean of 1.44 in [1, 2)); errors of random sign stay in that
// ratio to the sum: 2.2e-3 of two factors, and as many deviations in the largest of the errors as
// in the largest of the sums. A gated or normalized row has few large values, so up to twice that.
// Largest found: 3.0e-3.
constexpr double kBF16Tolerance = 4e-3;

// f16 has three bits more, so an eighth of that, 5e-4; but one in a hundred draws of a case of ten
// outputs has 6.3e-4. Largest found: 5.7e-4.
constexpr double kF16Tolerance = 7e-4;

// e4m3 has four significant bits: each factor is off by 2^-4 at most, 2^-4 / sqrt(3) = 3.6e-2 as a
// deviation, 5.1e-2 of two factors, and up to twice that, as in bf16. Largest found: 5.5e-2.
constexpr double kF8Tolerance = 0.1;
// Of the results of a row or of a feature, root mean square. Largest found: 5.0e-2, of a gated row,
// which has few large values.
constexpr double kF8Deviation = 7e-2;

double HalfToleranceOf(GpuModel gpu) {
  return gpu == GpuModel::kTuring ? kF16Tolerance : kBF16Tolerance;
}

// Rows in runs where the device takes them.
Case InRows(Case test, double tolerance) {
  test.tolerance = tolerance;
  const auto at = op::OperandsOf(std::get<op::Linear>(test.op));
  for (const Operand& operand : test.inputs) test.row_elements.push_back(operand.shape.back());
  test.row_elements.push_back(test.inputs[static_cast<size_t>(at.weight)].shape[0]);
  return test;
}

// On each GPU that tests can have.
class CudaLinear : public testing::TestWithParam<GpuModel> {
 protected:
  double ToleranceOf(Compute compute) const {
    if (compute == Compute::kF32) return kF32Tolerance;
    return HalfToleranceOf(GetParam());
  }
  Case WithRows(Case test, Compute compute) const {
    return InRows(std::move(test), ToleranceOf(compute));
  }
  static void ExpectConforms(const Case& test) { ExpectCudaConforms(test, GetParam()); }
  static std::vector<float> Run(const Case& test) { return RunCuda(test, GetParam()); }
};
INSTANTIATE_TEST_SUITE_P(Gpus, CudaLinear, testing::ValuesIn(GpuModels()),
                         [](const auto& gpu) { return Name(gpu.param); });

// f(gpu) for each that multiplies e4m3, or for each that does not.
template <class F>
void OnGpusByF8(bool multiply_f8, const F& f) {
  for (const GpuModel gpu : GpuModelsByF8(multiply_f8)) {
    SCOPED_TRACE(Name(gpu));
    f(gpu);
  }
}

Case WithCompute(Case test, Compute compute) {
  std::get<op::Linear>(test.op).compute = compute;
  return test;
}
// Of 16 bits.
std::vector<float> RunInHalf(const Case& test, GpuModel gpu) {
  return RunCuda(WithCompute(test, Compute::kI8), gpu);
}

// Rows of an f32 operand times the magnitudes in turn.
void MultiplyRows(Operand& operand, std::span<const float> magnitudes) {
  auto* values = reinterpret_cast<float*>(operand.bytes.data());
  const int64_t k = operand.shape.back();
  for (int64_t i = 0; i < operand.shape.num_elements(); ++i) {
    values[i] *= magnitudes[static_cast<size_t>(i / k) % magnitudes.size()];
  }
}

std::vector<float> RowOf(const std::vector<float>& rows, int64_t row, int64_t width) {
  const auto begin = rows.begin() + row * width;
  return {begin, begin + width};
}

Case WithoutBias(Case test) {
  auto& linear = std::get<op::Linear>(test.op);
  test.inputs.erase(test.inputs.begin() + op::OperandsOf(linear).bias);
  linear.has_bias = false;
  return test;
}

TEST_P(CudaLinear, HoldsForEveryWeightTypeInF32And16Bits) {
  for (int i = 0; i < kNumDTypes; ++i) {
    const auto dtype = static_cast<DType>(i);
    if (!cuda::IsWeightType(dtype)) continue;
    for (Compute compute : {Compute::kF32, Compute::kI8}) {
      ExpectConforms(WithRows(MakeLinearCase(compute, {1, 3, 33, 512}, dtype), compute));
    }
  }
}

TEST_P(CudaLinear, HoldsForEveryPrologueAndEpilogue) {
  // In columns by fours, and not.
  for (const LinearSize& size : {LinearSize{2, 3, 36, 300}, LinearSize{2, 3, 37, 303}}) {
    ForEveryFusion([&](op::Prologue prologue, op::Epilogue epilogue) {
      for (Compute compute : {Compute::kF32, Compute::kI16}) {
        ExpectConforms(
            WithRows(MakeFusedLinearCase(compute, size, DType::kF16, prologue, epilogue), compute));
      }
    });
  }
}

TEST_P(CudaLinear, HoldsForAnyK) {
  for (int64_t k : {1, 3, 255, 1025}) {
    for (Compute compute : {Compute::kF32, Compute::kI8}) {
      ExpectConforms(WithRows(MakeFusedLinearCase(compute, {1, 2, 5, k}, DType::kBF16,
                                                  op::Prologue::kGeluTanh, op::Epilogue::kNone),
                              compute));
    }
  }
}

TEST_P(CudaLinear, AppliesTheScaleOfAWeightAndTakesOneAtAnyAddress) {
  // All but the last are those that a product reads where they lie, if nothing is to be done to
  // them and they are aligned.
  for (DType dtype : {DType::kF32, DType::kF16, DType::kBF16, DType::kF8E4M3}) {
    for (Compute compute : {Compute::kF32, Compute::kI8}) {
      Case test = WithRows(MakeLinearCase(compute, {1, 3, 33, 64}, dtype), compute);
      test.inputs[1].scale = 0.375f;
      ExpectConforms(test);
      test.inputs[1].scale = 1.0f;
      ExpectConforms(test);
      test.inputs[1].bytes.insert(test.inputs[1].bytes.begin(), std::byte{0});
      test.inputs[1].offset = 1;
      ExpectConforms(test);
    }
  }
}

TEST_P(CudaLinear, TakesOuterDimensionsAsRowsAndNoBias) {
  for (Compute compute : {Compute::kF32, Compute::kI8}) {
    Case test = MakeLinearCase(compute, {1, 12, 20, 64}, DType::kQ4_0);
    test.inputs[0].shape = {2, 3, 2, 64};
    ExpectConforms(WithRows(WithoutBias(test), compute));
  }
}

TEST_P(CudaLinear, GivesRowsOfAPictureTheBitsOfTheWhole) {
  ForEveryFusion([](op::Prologue prologue, op::Epilogue epilogue) {
    for (Compute compute : {Compute::kF32, Compute::kI8}) {
      Case all = MakeFusedLinearCase(compute, {2, 7, 36, 320}, DType::kQ8_0, prologue, epilogue);
      MultiplyRows(all.inputs[0], std::array{1e6f, 1e-6f, 0.0f, 30.0f, 1.0f});
      std::vector<float> found;
      for (int64_t picture : {0, 1}) {
        for (const auto& [begin, count] : {std::pair{0, 4}, std::pair{4, 3}}) {
          const std::vector<float> rows = Run(RowsOfPicture(all, picture, begin, count));
          found.insert(found.end(), rows.begin(), rows.end());
        }
      }
      EXPECT_EQ(found, Run(all)) << all.name;
    }
  });
}

TEST_P(CudaLinear, TakesAWeightInPieces) {
  // 256 rows of this K are more than a piece should have, so there are pieces of 256 and 44 rows.
  const Case test = MakeFusedLinearCase(Compute::kF32, {1, 2, 300, 65792}, DType::kQ8_0,
                                        op::Prologue::kNone, op::Epilogue::kGatedAdd);
  // f32 sums of 65792 terms: 2^-24 * sqrt(K) = 1.5e-5.
  EXPECT_LE(RelativeError(Run(test), RunReference(test)), 2e-5);
}

// T5-XXL and FLUX have rows beyond 65504, where f16 ends.
TEST_P(CudaLinear, RowsOfAnyMagnitudeAreAsExactAsOthers) {
  constexpr float kMagnitudes[] = {1e6f, 1e-6f, 1.0f, 1e30f, 1e-36f};
  constexpr int64_t kFeatures = 300;
  ForEveryFusion([&](op::Prologue prologue, op::Epilogue epilogue) {
    if (epilogue != op::Epilogue::kNone) return;  // it would hide what is small, as a bias would
    Case test = WithoutBias(
        MakeFusedLinearCase(Compute::kI8, {2, 5, kFeatures, 300}, DType::kF32, prologue, epilogue));
    SCOPED_TRACE(test.name);
    const bool is_norm = prologue == op::Prologue::kAdaLayerNorm;
    for (int idx = is_norm ? 1 : 0; idx <= (is_norm ? 2 : 0); ++idx) {
      MultiplyRows(test.inputs[static_cast<size_t>(idx)], kMagnitudes);
    }
    const std::vector<float> found = Run(test), expected = RunReference(test);
    for (int64_t row = 0; row < 10; ++row) {
      EXPECT_LE(RelativeError(RowOf(found, row, kFeatures), RowOf(expected, row, kFeatures)),
                ToleranceOf(Compute::kI8))
          << "row " << row;
    }
  });
}

TEST_P(CudaLinear, ARowOfZerosGivesTheBias) {
  Case test = MakeLinearCase(Compute::kI8, {1, 3, 36, 64}, DType::kF16);
  MultiplyRows(test.inputs[0], std::array{1e6f, 0.0f, 1.0f});
  std::vector<float> bias(36);
  std::memcpy(bias.data(), test.inputs[2].bytes.data(), 36 * sizeof(float));
  EXPECT_EQ(RowOf(Run(test), 1, 36), bias);
}

TEST_P(CudaLinear, InfinityAndNaNStayInTheirRowsAndAreFoundThere) {
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();
  ForEveryFusion([](op::Prologue prologue, op::Epilogue epilogue) {
    Case test = MakeFusedLinearCase(Compute::kI8, {1, 4, 36, 64}, DType::kBF16, prologue, epilogue);
    SCOPED_TRACE(test.name);
    const std::vector<float> whole = Run(test);
    auto* x = reinterpret_cast<float*>(test.inputs[0].bytes.data());
    const int64_t width = test.inputs[0].shape.back();
    x[width + 3] = kInfinity;
    x[3 * width + 5] = kNaN;
    const std::vector<float> found = Run(test);
    for (int64_t row = 0; row < 4; ++row) {
      const std::vector<float> values = RowOf(found, row, 36);
      if (row % 2 == 0) {
        EXPECT_EQ(values, RowOf(whole, row, 36));
      } else {
        for (float value : values) EXPECT_FALSE(std::isfinite(value)) << "row " << row;
      }
    }
  });
}

// Runs are rows 19 elements further apart than they are wide: outputs that no product in e4m3
// takes.
TEST(CudaLinearF8, HoldsForEveryPrologueAndEpilogue) {
  OnGpusByF8(true, [](GpuModel gpu) {
    // Columns of both operands of a concatenation by fours, and not.
    for (const LinearSize& size : {LinearSize{2, 3, 48, 288}, LinearSize{2, 3, 48, 304}}) {
      ForEveryFusion([&](op::Prologue prologue, op::Epilogue epilogue) {
        const Case test = MakeFusedLinearCase(Compute::kF8, size, DType::kF16, prologue, epilogue);
        ExpectCudaConforms(InRows(test, kF8Tolerance), gpu);
        EXPECT_NE(RunCuda(test, gpu), RunInHalf(test, gpu)) << test.name;
      });
    }
  });
}

TEST(CudaLinearF8, HoldsForEveryWeightTypeWithItsScaleAtAnyAddress) {
  OnGpusByF8(true, [](GpuModel gpu) {
    for (int i = 0; i < kNumDTypes; ++i) {
      const auto dtype = static_cast<DType>(i);
      if (!cuda::IsWeightType(dtype)) continue;
      Case test = InRows(MakeLinearCase(Compute::kF8, {1, 3, 48, 512}, dtype), kF8Tolerance);
      test.inputs[1].scale = 0.375f;
      ExpectCudaConforms(test, gpu);
      test.inputs[1].bytes.insert(test.inputs[1].bytes.begin(), std::byte{0});
      test.inputs[1].offset = 1;
      ExpectCudaConforms(test, gpu);
    }
  });
}

// Integers up to 16 are values of e4m3, as are their products with powers of two.
TEST(CudaLinearF8, IsExactWhereRowsAndFeaturesAreValuesOfE4M3TimesPowersOfTwo) {
  OnGpusByF8(true, [](GpuModel gpu) {
    ForEveryFusion([&](op::Prologue prologue, op::Epilogue epilogue) {
      if (prologue != op::Prologue::kNone) return;
      Case test =
          MakeFusedLinearCase(Compute::kF8, {2, 5, 48, 64}, DType::kF32, prologue, epilogue);
      SCOPED_TRACE(test.name);
      for (Operand& operand : test.inputs) {
        for (int64_t i = 0; i < operand.shape.num_elements(); ++i) {
          Values(operand)[i] = std::round(Values(operand)[i] * 16);
        }
      }
      MultiplyRows(test.inputs[0], std::array{0x1p20f, 1.0f, 0x1p-10f});
      MultiplyRows(test.inputs[1], std::array{0x1p-12f, 0x1p3f, 1.0f, 0x1p-3f});
      // But for one rounding to f32 at the end, or one of the gate's sum.
      EXPECT_LE(RelativeError(RunCuda(test, gpu), RunReference(test)), 0x1p-23);
    });
  });
}

TEST(CudaLinearF8, GivesRowsOfAPictureTheBitsOfTheWhole) {
  OnGpusByF8(true, [](GpuModel gpu) {
    ForEveryFusion([&](op::Prologue prologue, op::Epilogue epilogue) {
      Case all =
          MakeFusedLinearCase(Compute::kF8, {2, 7, 48, 320}, DType::kQ8_0, prologue, epilogue);
      MultiplyRows(all.inputs[0], std::array{1e6f, 1e-6f, 0.0f, 30.0f, 1.0f});
      std::vector<float> found;
      for (int64_t picture : {0, 1}) {
        for (const auto& [begin, count] : {std::pair{0, 4}, std::pair{4, 3}}) {
          const std::vector<float> rows = RunCuda(RowsOfPicture(all, picture, begin, count), gpu);
          found.insert(found.end(), rows.begin(), rows.end());
        }
      }
      EXPECT_EQ(found, RunCuda(all, gpu)) << all.name;
    });
  });
}

// Rows of the staged output's pieces (K / 4 = 16) and a part of one, of features in one piece.
TEST(CudaLinearF8, TakesMoreRowsThanAreStagedAtOnce) {
  OnGpusByF8(true, [](GpuModel gpu) {
    ExpectCudaConforms(
        InRows(MakeLinearCase(Compute::kF8, {1, 37, 48, 64}, DType::kBF16), kF8Tolerance), gpu);
  });
}

TEST(CudaLinearF8, TakesAWeightInPieces) {
  OnGpusByF8(true, [](GpuModel gpu) {
    for (op::Epilogue epilogue : {op::Epilogue::kNone, op::Epilogue::kGatedAdd}) {
      // As in 16 bits: 256 rows, then 48.
      Case test = MakeFusedLinearCase(Compute::kF8, {1, 2, 304, 65792}, DType::kQ8_0,
                                      op::Prologue::kNone, epilogue);
      EXPECT_LE(RelativeError(RunCuda(test, gpu), RunReference(test)), kF8Tolerance);
    }
  });
}

TEST(CudaLinearF8, RowsAndFeaturesOfAnyMagnitudeAreAsExactAsOthers) {
  constexpr float kMagnitudes[] = {1e6f, 1e-6f, 1.0f, 1e30f, 1e-30f};
  constexpr int64_t kFeatures = 80, kRows = 10;
  OnGpusByF8(true, [&](GpuModel gpu) {
    ForEveryFusion([&](op::Prologue prologue, op::Epilogue epilogue) {
      if (epilogue != op::Epilogue::kNone) return;  // it would hide what is small, as a bias would
      Case test = WithoutBias(MakeFusedLinearCase(Compute::kF8, {2, kRows / 2, kFeatures, 304},
                                                  DType::kF32, prologue, epilogue));
      SCOPED_TRACE(test.name);
      const bool is_norm = prologue == op::Prologue::kAdaLayerNorm;
      for (int idx = is_norm ? 1 : 0; idx <= (is_norm ? 2 : 0); ++idx) {
        MultiplyRows(test.inputs[static_cast<size_t>(idx)], kMagnitudes);
      }
      const std::vector<float> found = RunCuda(test, gpu), expected = RunReference(test);
      for (int64_t row = 0; row < kRows; ++row) {
        EXPECT_LE(RelativeRms(RowOf(found, row, kFeatures), RowOf(expected, row, kFeatures)),
                  kF8Deviation)
            << "row " << row;
      }
    });
    // A hundred rows, as ten sums of a feature may all be small.
    Case test = WithoutBias(MakeLinearCase(Compute::kF8, {1, 100, kFeatures, 304}, DType::kF32));
    MultiplyRows(test.inputs[1], std::array{1e6f, 1e-6f, 1.0f, 1e20f, 1e-20f});
    const auto features = [&](const std::vector<float>& rows, size_t feature) {
      std::vector<float> column;
      for (size_t i = feature; i < rows.size(); i += kFeatures) column.push_back(rows[i]);
      return column;
    };
    const std::vector<float> found = RunCuda(test, gpu), expected = RunReference(test);
    for (size_t i = 0; i < kFeatures; ++i) {
      EXPECT_LE(RelativeRms(features(found, i), features(expected, i)), kF8Deviation)
          << "feature " << i;
    }
  });
}

TEST(CudaLinearF8, ARowOrAFeatureOfZerosGivesTheBias) {
  OnGpusByF8(true, [](GpuModel gpu) {
    Case test = MakeLinearCase(Compute::kF8, {1, 3, 48, 64}, DType::kF32);
    MultiplyRows(test.inputs[0], std::array{1e6f, 0.0f, 1.0f});
    MultiplyRows(test.inputs[1], std::array{1.0f, 0.0f});
    const std::vector<float> found = RunCuda(test, gpu);
    for (size_t i = 0; i < found.size(); ++i) {
      if (i / 48 == 1 || i % 2 == 1) {
        EXPECT_EQ(found[i], Values(test.inputs[2])[i % 48]) << i;
      }
    }
  });
}

TEST(CudaLinearF8, InfinityAndNaNStayInTheirRowsAndFeaturesAndAreFoundThere) {
  OnGpusByF8(true, [](GpuModel gpu) {
    for (const float what :
         {std::numeric_limits<float>::infinity(), -std::numeric_limits<float>::infinity(),
          std::numeric_limits<float>::quiet_NaN()}) {
      ForEveryFusion([&](op::Prologue prologue, op::Epilogue epilogue) {
        Case test =
            MakeFusedLinearCase(Compute::kF8, {1, 4, 48, 64}, DType::kF32, prologue, epilogue);
        SCOPED_TRACE(test.name);
        const auto at = op::OperandsOf(std::get<op::Linear>(test.op));
        const std::vector<float> whole = RunCuda(test, gpu);
        Values(test.inputs[0])[test.inputs[0].shape.back() + 3] = std::abs(what);
        Values(test.inputs[static_cast<size_t>(at.weight)])[5 * 64 + 7] = what;
        const std::vector<float> found = RunCuda(test, gpu);
        for (size_t i = 0; i < found.size(); ++i) {
          if (i / 48 == 1 || i % 48 == 5) {
            EXPECT_FALSE(std::isfinite(found[i])) << i;
          } else {
            EXPECT_EQ(found[i], whole[i]) << i;
          }
        }
      });
    }
  });
}

TEST(CudaLinearF8, IsOf16BitsWhereNOrKIsNoMultipleOf16) {
  OnGpusByF8(true, [](GpuModel gpu) {
    for (const LinearSize& size : {LinearSize{1, 3, 40, 64}, LinearSize{1, 3, 48, 72}}) {
      const Case test = MakeLinearCase(Compute::kF8, size, DType::kF16);
      ExpectCudaConforms(InRows(test, HalfToleranceOf(gpu)), gpu);
      EXPECT_EQ(RunCuda(test, gpu), RunInHalf(test, gpu));
    }
  });
}

TEST(CudaLinearF8, HasTheBitsOf16BitsOnGpusWithoutIt) {
  OnGpusByF8(false, [](GpuModel gpu) {
    ForEveryFusion([&](op::Prologue prologue, op::Epilogue epilogue) {
      const Case test =
          MakeFusedLinearCase(Compute::kF8, {2, 3, 48, 64}, DType::kF8E4M3, prologue, epilogue);
      EXPECT_EQ(RunCuda(test, gpu), RunInHalf(test, gpu)) << test.name;
    });
  });
}

}  // namespace
}  // namespace ingot::conformance
