// Names, types and shapes of the tensors of one model, as a network sees them.
//
// Networks read their sizes from this table and never see a file: whoever
// fills it (library/) has already translated the file's names into the
// reference's names.
#pragma once

#include <map>
#include <string>
#include <string_view>

#include "base/status.h"
#include "tensor/dtype.h"
#include "tensor/shape.h"

namespace ingot {

struct TensorInfo {
  DType dtype = DType::kF32;
  Shape shape;
};

class TensorTable {
 public:
  // `source` stands in error messages: the file's path.
  explicit TensorTable(std::string source) : source_(std::move(source)) {}

  const std::string& source() const { return source_; }
  void Add(std::string name, TensorInfo info) { tensors_.emplace(std::move(name), info); }

  // Null when there is none of that name.
  const TensorInfo* Find(std::string_view name) const;

  // Shape of a tensor that must be there with that rank; kCorruption names the
  // file, the tensor, what was expected and what was found.
  Result<Shape> GetShape(std::string_view name, int rank) const;

  // Number of consecutive blocks `prefix.0.suffix`, `prefix.1.suffix`, ….
  int CountBlocks(std::string_view prefix, std::string_view suffix) const;

  const std::map<std::string, TensorInfo, std::less<>>& tensors() const { return tensors_; }

 private:
  std::string source_;
  std::map<std::string, TensorInfo, std::less<>> tensors_;
};

}  // namespace ingot
