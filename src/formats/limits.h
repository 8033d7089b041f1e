// What every reader of headers checks before it believes a size.
#pragma once

#include <cstdint>
#include <string_view>

#include "base/status.h"
#include "tensor/dtype.h"
#include "tensor/shape.h"

namespace ingot {

// The limit of the safetensors reference (MAX_HEADER_SIZE); GGUF gets the same.
// The largest headers in use hold a vocabulary of some 15 MB.
inline constexpr uint64_t kMaxHeaderBytes = 100'000'000;

// Sizes of a shape from a file, which may be anything. kCorruption names
// `path` and `what` when a dimension is negative, the size exceeds an int64_t,
// or the elements fill no whole blocks.
Result<int64_t> CheckedNumElements(std::string_view path, std::string_view what,
                                   const Shape& shape);
Result<int64_t> CheckedNumBytes(std::string_view path, std::string_view what, DType dtype,
                                const Shape& shape);

}  // namespace ingot
