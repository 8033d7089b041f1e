#include "formats/limits.h"

namespace ingot {

Result<int64_t> CheckedNumElements(std::string_view path, std::string_view what,
                                   const Shape& shape) {
  int64_t count = 1;
  for (const int64_t dim : shape) {
    if (dim < 0 || __builtin_mul_overflow(count, dim, &count)) {
      return Corruption("{}: {}: expected a shape of less than 2^63 elements, found {}", path, what,
                        shape.ToString());
    }
  }
  return count;
}

Result<int64_t> CheckedNumBytes(std::string_view path, std::string_view what, DType dtype,
                                const Shape& shape) {
  INGOT_ASSIGN_OR_RETURN(const int64_t count, CheckedNumElements(path, what, shape));
  const DTypeInfo& info = Info(dtype);
  if (count % info.block_elements != 0) {
    return Corruption("{}: {}: expected a multiple of {} elements for {}, found {}", path, what,
                      info.block_elements, info.name, count);
  }
  int64_t num_bytes;
  if (__builtin_mul_overflow(count / info.block_elements, info.block_bytes, &num_bytes)) {
    return Corruption("{}: {}: expected less than 2^63 bytes, found {} of {}", path, what,
                      shape.ToString(), info.name);
  }
  return num_bytes;
}

}  // namespace ingot
