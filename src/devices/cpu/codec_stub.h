// Stands in for tensor/codec.h until that lands: the types with the simplest blocks.
#pragma once

#include <cstddef>
#include <cstdint>

#include "tensor/dtype.h"

namespace ingot {

void DequantizeRow(DType dtype, const std::byte* in, float* out, int64_t n);

}  // namespace ingot
