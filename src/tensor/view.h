// Typed views of tensors; they own no memory.
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

// Row-major. Contiguous, or (a slice of columns, a part of a concatenation) in
// runs of `run_elements` contiguous elements, each `run_stride` elements behind
// the one before. `scale` multiplies every element: the one factor of a
// "scaled fp8" weight; 1 for everything else.
struct ConstTensorView {
  DType dtype = DType::kF32;
  Shape shape;
  const std::byte* data = nullptr;
  float scale = 1.0f;
  int64_t run_elements = 0;  // 0: contiguous
  int64_t run_stride = 0;

  bool is_contiguous() const { return run_elements == 0; }
  // Elements from row to row, where a row is the innermost `row_elements`
  // elements: the whole run of a view in runs.
  int64_t RowStride(int64_t row_elements) const {
    INGOT_CHECK(is_contiguous() || row_elements == run_elements);
    return is_contiguous() ? row_elements : run_stride;
  }
  int64_t num_bytes() const { return NumBytes(dtype, shape); }

  template <typename T>
  std::span<const T> As() const {
    INGOT_CHECK(dtype == DTypeOf<T>::value && is_contiguous());
    return {reinterpret_cast<const T*>(data), static_cast<size_t>(shape.num_elements())};
  }
};

struct TensorView {
  DType dtype = DType::kF32;
  Shape shape;
  std::byte* data = nullptr;
  int64_t run_elements = 0;  // as in ConstTensorView
  int64_t run_stride = 0;

  bool is_contiguous() const { return run_elements == 0; }
  int64_t RowStride(int64_t row_elements) const {
    return ConstTensorView(*this).RowStride(row_elements);
  }
  int64_t num_bytes() const { return NumBytes(dtype, shape); }
  operator ConstTensorView() const { return {dtype, shape, data, 1.0f, run_elements, run_stride}; }

  template <typename T>
  std::span<T> As() const {
    INGOT_CHECK(dtype == DTypeOf<T>::value && is_contiguous());
    return {reinterpret_cast<T*>(data), static_cast<size_t>(shape.num_elements())};
  }
};

}  // namespace ingot
