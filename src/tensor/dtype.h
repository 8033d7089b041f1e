// Element types of tensors: plain numbers and the block formats of GGUF.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

namespace ingot {

// A block format packs `block_elements` consecutive values of the innermost
// dimension into `block_bytes`; a plain type is a block of one.
enum class DType : uint8_t {
  kF32,
  kF16,
  kBF16,
  kF8E4M3,
  kF8E5M2,
  kI64,
  kI32,
  kU8,
  kQ4_0,
  kQ4_1,
  kQ5_0,
  kQ5_1,
  kQ8_0,
  kQ2_K,
  kQ3_K,
  kQ4_K,
  kQ5_K,
  kQ6_K,
  kIQ4_NL,
  kIQ4_XS,
};
inline constexpr int kNumDTypes = static_cast<int>(DType::kIQ4_XS) + 1;

struct DTypeInfo {
  std::string_view name;  // as in GGUF and on the command line: "Q4_0", "F8_E4M3"
  int64_t block_elements;
  int64_t block_bytes;
};

const DTypeInfo& Info(DType dtype);
inline std::string_view Name(DType dtype) { return Info(dtype).name; }
inline bool IsBlockFormat(DType dtype) { return Info(dtype).block_elements > 1; }

// Case-sensitive; nothing for an unknown name.
std::optional<DType> FindDType(std::string_view name);

}  // namespace ingot
