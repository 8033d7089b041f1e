// Shapes: sizes of a tensor's dimensions, outermost first.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <initializer_list>
#include <span>
#include <string>

#include "base/check.h"
#include "tensor/dtype.h"

namespace ingot {

// Up to 6 dimensions, held in place: views and ops copy shapes without the heap
// (promise P3). A scalar has rank 0 and one element.
class Shape {
 public:
  static constexpr int kMaxRank = 6;

  Shape() = default;
  Shape(std::initializer_list<int64_t> dims) : Shape(std::span(dims.begin(), dims.size())) {}
  explicit Shape(std::span<const int64_t> dims) {
    for (int64_t dim : dims) push_back(dim);
  }

  int rank() const { return rank_; }
  // Negative axes count from the end, as in the reference code.
  int64_t operator[](int axis) const { return dims_[Index(axis)]; }
  int64_t& operator[](int axis) { return dims_[Index(axis)]; }
  int64_t back() const { return (*this)[-1]; }
  void push_back(int64_t dim) {
    INGOT_CHECK(rank_ < kMaxRank);
    dims_[static_cast<size_t>(rank_++)] = dim;
  }
  const int64_t* begin() const { return dims_.data(); }
  const int64_t* end() const { return dims_.data() + rank_; }

  int64_t num_elements() const {
    int64_t count = 1;
    for (int64_t dim : *this) count *= dim;
    return count;
  }
  friend bool operator==(const Shape& a, const Shape& b) {
    return std::equal(a.begin(), a.end(), b.begin(), b.end());
  }
  std::string ToString() const;  // "[1, 256, 3072]"

 private:
  size_t Index(int axis) const {
    const int index = axis < 0 ? axis + rank_ : axis;
    INGOT_CHECK(index >= 0 && index < rank_);
    return static_cast<size_t>(index);
  }

  std::array<int64_t, kMaxRank> dims_ = {};
  int rank_ = 0;
};

// Bytes of a contiguous tensor. The innermost dimension must be a multiple of
// the block (readers of files check that before they call).
int64_t NumBytes(DType dtype, const Shape& shape);

}  // namespace ingot
