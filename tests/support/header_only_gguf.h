// A GGUF file that is all header: tensors of any size, whose data is a hole.
#pragma once

#include <filesystem>
#include <span>

#include "base/status.h"
#include "formats/tensor_writer.h"

namespace ingot {

// GGUF v3 without metadata, tensors in the order given; truncate() gives the file its size, so that
// it takes a few pages of disk. Whatever reads headers alone takes it for a whole file; its weights
// read as zeros.
Status WriteHeaderOnlyGguf(const std::filesystem::path& path, std::span<const TensorSpec> tensors);

}  // namespace ingot
