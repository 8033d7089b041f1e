#include "tensor/dtype.h"

#include <array>
#include <cstddef>

namespace ingot {
namespace {

// Order of DType. Block sizes: ggml-common.h, the block_* structs.
constexpr std::array<DTypeInfo, kNumDTypes> kInfos = {{
    {"F32", 1, 4},      {"F16", 1, 2},      {"BF16", 1, 2},     {"F8_E4M3", 1, 1},
    {"F8_E5M2", 1, 1},  {"I64", 1, 8},      {"I32", 1, 4},      {"U8", 1, 1},
    {"Q4_0", 32, 18},   {"Q4_1", 32, 20},   {"Q5_0", 32, 22},   {"Q5_1", 32, 24},
    {"Q8_0", 32, 34},   {"Q2_K", 256, 84},  {"Q3_K", 256, 110}, {"Q4_K", 256, 144},
    {"Q5_K", 256, 176}, {"Q6_K", 256, 210}, {"IQ4_NL", 32, 18}, {"IQ4_XS", 256, 136},
}};

}  // namespace

const DTypeInfo& Info(DType dtype) { return kInfos[static_cast<size_t>(dtype)]; }

std::optional<DType> FindDType(std::string_view name) {
  for (int i = 0; i < kNumDTypes; ++i) {
    if (kInfos[static_cast<size_t>(i)].name == name) return static_cast<DType>(i);
  }
  return std::nullopt;
}

}  // namespace ingot
