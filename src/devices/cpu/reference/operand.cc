#include "devices/cpu/reference/operand.h"

#include <cstring>

#include "tensor/float_bits.h"

namespace ingot::cpu::reference {
namespace {

// Index in memory of element `i` of the view.
size_t Position(int64_t run_elements, int64_t run_stride, size_t i) {
  if (run_elements == 0) return i;
  const auto run = static_cast<size_t>(run_elements);
  return i / run * static_cast<size_t>(run_stride) + i % run;
}

}  // namespace

std::vector<float> Load(const ConstTensorView& view) {
  INGOT_CHECK(view.dtype == DType::kF32 || view.dtype == DType::kF16);
  std::vector<float> values(static_cast<size_t>(view.shape.num_elements()));
  for (size_t i = 0; i < values.size(); ++i) {
    const size_t at = Position(view.run_elements, view.run_stride, i);
    if (view.dtype == DType::kF32) {
      std::memcpy(&values[i], view.data + at * sizeof(float), sizeof(float));
    } else {
      uint16_t half;
      std::memcpy(&half, view.data + at * sizeof half, sizeof half);
      values[i] = F16ToF32(half);
    }
  }
  return values;
}

void Store(std::span<const float> values, const TensorView& view) {
  INGOT_CHECK(view.dtype == DType::kF32 || view.dtype == DType::kF16);
  INGOT_CHECK(static_cast<int64_t>(values.size()) == view.shape.num_elements());
  for (size_t i = 0; i < values.size(); ++i) {
    const size_t at = Position(view.run_elements, view.run_stride, i);
    if (view.dtype == DType::kF32) {
      std::memcpy(view.data + at * sizeof(float), &values[i], sizeof(float));
    } else {
      const uint16_t half = F32ToF16(values[i]);
      std::memcpy(view.data + at * sizeof half, &half, sizeof half);
    }
  }
}

}  // namespace ingot::cpu::reference
