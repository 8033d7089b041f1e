// Reader of safetensors files.
// Source: huggingface/safetensors, safetensors/src/tensor.rs.
#pragma once

#include <cstdint>
#include <memory>

#include "base/file.h"
#include "base/status.h"
#include "formats/tensor_file.h"

namespace ingot {

// The scales of "scaled fp8" weights become TensorEntry::scale, and their
// tensors are hidden (scaled_fp8.h).
Result<TensorFile> ReadSafetensors(std::shared_ptr<const File> file);

}  // namespace ingot
