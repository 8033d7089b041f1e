// Typed views of contiguous tensors; they own no memory.
#pragma once

#include <cstddef>
#include <span>

#include "base/check.h"
#include "tensor/dtype.h"
#include "tensor/shape.h"

namespace ingot {

template <typename T>
struct DTypeOf;
template <>
struct DTypeOf<float> {
  static constexpr DType value = DType::kF32;
};
template <>
struct DTypeOf<int32_t> {
  static constexpr DType value = DType::kI32;
};

// Contiguous, row-major. `scale` multiplies every element: the one factor of a
// "scaled fp8" weight; 1 for everything else.
struct ConstTensorView {
  DType dtype = DType::kF32;
  Shape shape;
  const std::byte* data = nullptr;
  float scale = 1.0f;

  int64_t num_bytes() const { return NumBytes(dtype, shape); }

  template <typename T>
  std::span<const T> As() const {
    INGOT_CHECK(dtype == DTypeOf<T>::value);
    return {reinterpret_cast<const T*>(data), static_cast<size_t>(shape.num_elements())};
  }
};

struct TensorView {
  DType dtype = DType::kF32;
  Shape shape;
  std::byte* data = nullptr;

  int64_t num_bytes() const { return NumBytes(dtype, shape); }
  operator ConstTensorView() const { return {dtype, shape, data}; }

  template <typename T>
  std::span<T> As() const {
    INGOT_CHECK(dtype == DTypeOf<T>::value);
    return {reinterpret_cast<T*>(data), static_cast<size_t>(shape.num_elements())};
  }
};

}  // namespace ingot
