// Values of every DType to f32 and back: the definition that faster kernels are
// tested against.
//
// Source: gguf-py, gguf/quants.py, whose results these are bit for bit, with its
// order of operations in f32: scale times integer, then minus or plus the
// minimum. No fused multiply-add (the build has -ffp-contract=off).
#pragma once

#include <cstddef>
#include <cstdint>

#include "tensor/dtype.h"

namespace ingot {

// out[i] = value of element i. num_elements is a multiple of the block;
// integers are rounded to f32. A view's `scale` is not applied.
void DequantizeRow(DType dtype, const std::byte* in, float* out, int64_t num_elements);

// F32, F16, BF16, Q4_0, Q4_1, Q5_0, Q5_1, Q8_0.
bool CanQuantize(DType dtype);

// For types that CanQuantize; num_elements is a multiple of the block. Values
// must be finite for the block formats: another gives a wrong block, no more.
void QuantizeRow(DType dtype, const float* in, std::byte* out, int64_t num_elements);

}  // namespace ingot
