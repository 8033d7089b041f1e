// The tensors of one network in a file, under the reference's names.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "formats/tensor_file.h"
#include "tensor/tensor_table.h"

namespace ingot {

// Keeps its file open; entries point into it. Copies share all they have: the names of FLUX.1 are
// 780, and every job, plan and program holds them.
struct ComponentTensors {
  using ByName = std::map<std::string, const TensorEntry*, std::less<>>;
  std::shared_ptr<const TensorFile> file;
  std::shared_ptr<const ByName> by_name;

  const std::string& path() const { return file->path(); }
  const TensorEntry* Find(std::string_view name) const;  // null: there is none
  // What a network may know: names, types and shapes.
  TensorTable Table() const;
  int64_t num_bytes() const;
};

// Gives the reference's name of a tensor of a file, or nothing when the tensor
// belongs to another network.
using CanonicalName = std::function<std::optional<std::string>(std::string_view file_name)>;

// Of two tensors with one canonical name the first in the file counts (T5 files
// hold the embedding table under two names).
ComponentTensors NameTensors(std::shared_ptr<const TensorFile> file,
                             const CanonicalName& canonical_name);

}  // namespace ingot
