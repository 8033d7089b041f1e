#include "devices/cpu/dequantize.h"

#include "tensor/codec.h"

namespace ingot::cpu {

bool IsWeightType(DType dtype) {
  return dtype != DType::kI64 && dtype != DType::kI32 && dtype != DType::kU8;
}

void DequantizeWeight(const ConstTensorView& weight, int64_t row, int64_t k, int64_t num_k,
                      float* out) {
  const DTypeInfo& info = Info(weight.dtype);
  const int64_t block = (row * weight.shape[1] + k) / info.block_elements;
  DequantizeRow(weight.dtype, weight.data + block * info.block_bytes, out, num_k);
  if (weight.scale == 1.0f) return;
  for (int64_t i = 0; i < num_k; ++i) out[i] *= weight.scale;
}

void DequantizeWeightRow(const ConstTensorView& weight, int64_t row, float* out) {
  DequantizeWeight(weight, row, 0, weight.shape[1], out);
}

}  // namespace ingot::cpu
