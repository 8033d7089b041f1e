// A weights file as a list of named tensors, whatever its format.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "base/file.h"
#include "base/status.h"
#include "formats/metadata.h"
#include "tensor/dtype.h"
#include "tensor/shape.h"

namespace ingot {

struct TensorEntry {
  std::string name;  // exactly as in the file
  DType dtype = DType::kF32;
  // Outermost first. A block format packs the elements in their flat order; in
  // a tensor that was reshaped for GGUF ("comfy.gguf.orig_shape") a block may
  // therefore cross rows of this, the original, shape.
  Shape shape;
  uint64_t offset = 0;    // of the first byte, from the start of the file
  int64_t num_bytes = 0;  // NumBytes(dtype, shape)
  float scale = 1.0f;     // ConstTensorView::scale of this tensor
};

// An open file whose whole header was found sound: names are unique and every
// tensor lies inside the file and apart from the others.
class TensorFile {
 public:
  struct Contents {
    std::shared_ptr<const File> file;
    std::string kind;  // "GGUF v3", "safetensors"
    Metadata metadata;
    std::vector<TensorEntry> entries;
  };

  // For the readers of formats. kCorruption names file, tensor and fault.
  static Result<TensorFile> Make(Contents contents);
  // The same open file with other entries, checked again.
  Result<TensorFile> WithEntries(std::vector<TensorEntry> entries) &&;
  TensorFile(TensorFile&&) = default;
  TensorFile& operator=(TensorFile&&) = default;

  const std::string& path() const { return contents_.file->path(); }
  const File& file() const { return *contents_.file; }
  const std::string& kind() const { return contents_.kind; }
  const Metadata& metadata() const { return contents_.metadata; }
  const std::vector<TensorEntry>& entries() const { return contents_.entries; }  // in file order

  // Null when the file has no tensor of that name.
  const TensorEntry* Find(std::string_view name) const;

  // Reads all bytes of an entry of this file; out.size() is entry.num_bytes.
  // Leaves nothing in the page cache. Thread-safe.
  Status ReadTensor(const TensorEntry& entry, std::span<std::byte> out) const;

 private:
  explicit TensorFile(Contents contents);

  Contents contents_;
  std::unordered_map<std::string_view, const TensorEntry*> by_name_;  // into contents_.entries
};

// Opens a GGUF or safetensors file; which of the two its content decides, never
// its name. kCorruption: the file contradicts itself or the format.
// kUnsupported: another kind of file (a pickle, a Git LFS pointer, …), or a
// type that Ingot does not read; the message says which and what to do.
Result<TensorFile> OpenTensorFile(const std::filesystem::path& path);

}  // namespace ingot
