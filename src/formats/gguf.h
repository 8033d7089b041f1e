// Reader of GGUF v2 and v3, little-endian.
// Source: ggml/docs/gguf.md and ggml/src/gguf.cpp.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>

#include "base/file.h"
#include "base/status.h"
#include "formats/tensor_file.h"

namespace ingot {

inline constexpr std::string_view kGgufMagic = "GGUF";
inline constexpr int kGgufMaxDims = 4;  // GGML_MAX_DIMS
inline constexpr uint64_t kGgufDefaultAlignment = 32;
// Files have 32; 1 MiB is any page and any device's direct I/O.
inline constexpr uint64_t kGgufMaxAlignment = 1 << 20;
inline constexpr std::string_view kGgufAlignmentKey = "general.alignment";

// GGUF's dimensions stand innermost first; entries have them outermost first.
// Honours general.alignment, and the shapes that city96's ComfyUI-GGUF keeps as
// "comfy.gguf.orig_shape.<tensor>".
Result<TensorFile> ReadGguf(std::shared_ptr<const File> file);

// Number of a type in GGUF files (ggml.h, enum ggml_type); nothing for F8 and
// U8, which GGUF does not have.
std::optional<uint32_t> GgmlTypeNumber(DType dtype);

}  // namespace ingot
