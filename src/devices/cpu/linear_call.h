// One call of Linear as rows of f32 in memory: what its paths (linear_f32, linear_int16,
// linear_int8) share beside linear_rows-inl.h, which makes the rows they multiply, and
// linear_store-inl.h, which writes what they summed.
#pragma once

#include <cstddef>

#include "devices/device.h"
#include "graph/op.h"
#include "tensor/view.h"

namespace ingot::cpu {

// Row r of an operand starts at data + r * stride.
struct OperandRows {
  const float* data = nullptr;
  size_t stride = 0;

  const float* Row(size_t row) const { return data + row * stride; }
};

struct LinearCall {
  size_t num_rows, num_k, num_features;  // M, K, N
  size_t rows_per_picture;               // M / B; of x [B, K] every row is a picture

  op::Prologue prologue;
  float eps;
  OperandRows x;             // or a
  OperandRows b;             // of kGatedGeluTanh and kConcatGeluTanh
  size_t num_b;              // Kb of kConcatGeluTanh: the last columns come from b
  OperandRows shift, scale;  // of kAdaLayerNorm, a row per picture

  ConstTensorView weight;  // [N, K], at any byte address
  const float* bias;       // [N] or null

  op::Epilogue epilogue;
  OperandRows residual;  // of kAdd and kGatedAdd; may be the output itself
  OperandRows gate;      // of kGatedAdd, a row per picture
  float* out;
  size_t out_stride;
};

// M / B of an output [B, ..., N].
inline size_t RowsPerPicture(const Shape& output) {
  const int64_t pictures = output.rank() == 1 ? 1 : output[0];
  return static_cast<size_t>(output.num_elements() / output.back() / pictures);
}

LinearCall MakeLinearCall(const op::Linear& op, const OpCall& call);

}  // namespace ingot::cpu
