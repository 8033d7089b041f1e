// Operands of the reference kernels as plain f32 vectors, whatever their type and layout.
#pragma once

#include <span>
#include <vector>

#include "tensor/view.h"

namespace ingot::cpu::reference {

// Elements of an F32 or F16 view in row-major order.
std::vector<float> Load(const ConstTensorView& view);

// Writes `values` in row-major order, rounded to the view's type (F32 or F16).
void Store(std::span<const float> values, const TensorView& view);

}  // namespace ingot::cpu::reference
