// Writes a weights file: the header at once, then tensor after tensor.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/file.h"
#include "base/status.h"
#include "formats/metadata.h"
#include "tensor/dtype.h"
#include "tensor/shape.h"

namespace ingot {

struct TensorSpec {
  std::string name;
  DType dtype = DType::kF32;
  Shape shape;  // outermost first
};

// A file of any size goes through little memory: only the tensor at hand is
// held, by the caller. The file appears under its name with Commit() and not
// before.
class TensorWriter {
 public:
  // GGUF v3; general.alignment in `metadata` is honoured. kInvalidArgument,
  // naming the tensor: a type GGUF does not have, more than 4 dimensions, rows
  // that fill no whole blocks, a name or key that stands twice.
  static Result<std::unique_ptr<TensorWriter>> CreateGguf(const std::filesystem::path& path,
                                                          const Metadata& metadata,
                                                          std::span<const TensorSpec> tensors);

  // kInvalidArgument: a block format, metadata other than strings, a name that
  // stands twice or is no UTF-8.
  static Result<std::unique_ptr<TensorWriter>> CreateSafetensors(
      const std::filesystem::path& path, const Metadata& metadata,
      std::span<const TensorSpec> tensors);

  // All bytes of the next tensor, in the order of `tensors`.
  Status Append(std::span<const std::byte> tensor_bytes);

  // After the last tensor.
  Status Commit();

 private:
  TensorWriter(std::unique_ptr<AtomicFile> file, uint64_t alignment,
               std::vector<int64_t> sizes_bytes)
      : file_(std::move(file)), alignment_(alignment), sizes_bytes_(std::move(sizes_bytes)) {}
  static Result<std::unique_ptr<TensorWriter>> Start(const std::filesystem::path& path,
                                                     std::span<const TensorSpec> tensors,
                                                     std::string header, uint64_t alignment);

  std::unique_ptr<AtomicFile> file_;
  uint64_t alignment_;
  std::vector<int64_t> sizes_bytes_;
  size_t next_ = 0;
};

}  // namespace ingot
