// Weights of any type as plain numbers, on the device.
#pragma once

#include <cstdint>

#include <cuda_runtime.h>

#include "tensor/dtype.h"
#include "tensor/view.h"

namespace ingot::cuda {

// Whether a weight of Linear, Conv2d or Embedding may stay in this type: all of dtype.h but I64,
// I32 and U8.
bool IsWeightType(DType dtype);

// Rows [begin, begin + num_rows) of weight [rows, K], which may lie at any address, times
// weight.scale -> out [num_rows, K] in `dtype`: BF16 or F16, rounded once to the nearest, ties to
// even, or F32. From 65520 on F16 is infinite.
void DequantizeRows(const ConstTensorView& weight, int64_t begin, int64_t num_rows, DType dtype,
                    void* out, cudaStream_t stream);

// The same rows in e4m3, each times the power of two that its largest magnitude alone decides
// (row_scale.h), rounded once -> out; the inverse of that power -> factors [num_rows]. K and `out`
// are multiples of 16. Infinity becomes NaN.
void EncodeRowsInF8(const ConstTensorView& weight, int64_t begin, int64_t num_rows, void* out,
                    float* factors, cudaStream_t stream);

// The rows of weight [rows, K] that ids [num_ids] name, times weight.scale -> out [num_ids, K]; NaN
// for an id that names none.
void DequantizeRowsOf(const ConstTensorView& weight, const int32_t* ids, int64_t num_ids,
                      float* out, cudaStream_t stream);

}  // namespace ingot::cuda
