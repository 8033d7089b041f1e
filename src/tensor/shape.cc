#include "tensor/shape.h"

#include <fmt/ranges.h>

namespace ingot {

std::string Shape::ToString() const { return fmt::format("[{}]", fmt::join(begin(), end(), ", ")); }

int64_t NumBytes(DType dtype, const Shape& shape) {
  const DTypeInfo& info = Info(dtype);
  const int64_t num_elements = shape.num_elements();
  INGOT_CHECK(num_elements % info.block_elements == 0);
  return num_elements / info.block_elements * info.block_bytes;
}

}  // namespace ingot
