// Rows of a weight matrix as f32, whatever type the file keeps them in.
#pragma once

#include <cstdint>

#include "tensor/dtype.h"
#include "tensor/view.h"

namespace ingot::cpu {

// Whether a weight of Linear or Embedding may stay in this type.
bool IsWeightType(DType dtype);

// Elements [k, k + num_k) of row `row` of weight [rows, K], times weight.scale -> out [num_k]; k is
// a multiple of the type's block, num_k too.
void DequantizeWeight(const ConstTensorView& weight, int64_t row, int64_t k, int64_t num_k,
                      float* out);

// Row `row` of weight [rows, K], times weight.scale -> out [K].
void DequantizeWeightRow(const ConstTensorView& weight, int64_t row, float* out);

}  // namespace ingot::cpu
