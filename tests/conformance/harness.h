// Runs one op by the fast kernels of the CPU device and compares them with the reference kernels.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "graph/op.h"
#include "tensor/dtype.h"
#include "tensor/shape.h"

namespace ingot::conformance {

struct Operand {
  DType dtype = DType::kF32;
  Shape shape;
  float scale = 1.0f;
  std::vector<std::byte> bytes;
  size_t offset = 0;  // of the first element in `bytes`
};

// The same for the same seed. F32: uniform in [-1, 1); types with QuantizeRow: those values
// quantized; other types: random blocks whose values are finite and of that order.
Operand RandomOperand(DType dtype, const Shape& shape, uint32_t seed);
inline Operand Floats(const Shape& shape, uint32_t seed) {
  return RandomOperand(DType::kF32, shape, seed);
}

// These values, in F32 and in I32.
Operand FloatsOf(const Shape& shape, const std::vector<float>& values);
Operand Ids(const Shape& shape, const std::vector<int32_t>& values);

// The elements of an operand in F32.
inline float* Values(Operand& operand) { return reinterpret_cast<float*>(operand.bytes.data()); }

struct Case {
  std::string name;
  op::Op op;
  std::vector<Operand> inputs;
  // Largest |fast - reference| over the largest |reference|.
  double tolerance = 0.0;
  // Elements of a row of each operand, the output's last; where they are given, the views that the
  // device takes in runs are also passed so.
  std::vector<int64_t> row_elements;
  DType output_dtype = DType::kF32;
};

// Output of the fast kernels on one thread, and of the reference kernels.
std::vector<float> RunFast(const Case& test);
std::vector<float> RunReference(const Case& test);

// Largest |a - b| over the largest |b|; infinite where one of them is NaN.
double RelativeError(const std::vector<float>& a, const std::vector<float>& b);
// Root mean square of a - b over that of b.
double RelativeRms(const std::vector<float>& a, const std::vector<float>& b);

// Facts: the fast kernels are within the tolerance of the reference kernels; every thread count in
// {1, 2, 5} and every x86 level of this machine gives the same bits; all of the output is written,
// none of the poison (NaN) in it or in the workspace is read, and nothing is written beyond them;
// views in runs and an output in the place of the operand that the device names change no bit.
void ExpectConforms(const Case& test);

}  // namespace ingot::conformance
