#include "devices/cpu/dequantize.h"

#include "tensor/codec.h"

namespace ingot::cpu {

bool IsWeightType(DType dtype) {
  return dtype != DType::kI64 && dtype != DType::kI32 && dtype != DType::kU8;
}

void DequantizeWeightRow(const ConstTensorView& weight, int64_t row, float* out) {
  const int64_t k = weight.shape[1];
  const int64_t row_bytes = NumBytes(weight.dtype, {k});
  DequantizeRow(weight.dtype, weight.data + row * row_bytes, out, k);
  if (weight.scale == 1.0f) return;
  for (int64_t i = 0; i < k; ++i) out[i] *= weight.scale;
}

}  // namespace ingot::cpu
