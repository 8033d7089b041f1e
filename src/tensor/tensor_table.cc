#include "tensor/tensor_table.h"

namespace ingot {

const TensorInfo* TensorTable::Find(std::string_view name) const {
  const auto it = tensors_.find(name);
  return it == tensors_.end() ? nullptr : &it->second;
}

Result<Shape> TensorTable::GetShape(std::string_view name, int rank) const {
  const TensorInfo* info = Find(name);
  if (info == nullptr) {
    return Corruption("{}: expected tensor '{}' with {} dimensions, found none", source_, name,
                      rank);
  }
  if (info->shape.rank() != rank) {
    return Corruption("{}: tensor '{}': expected {} dimensions, found shape {}", source_, name,
                      rank, info->shape.ToString());
  }
  return info->shape;
}

int TensorTable::CountBlocks(std::string_view prefix, std::string_view suffix) const {
  int count = 0;
  while (Find(fmt::format("{}.{}.{}", prefix, count, suffix)) != nullptr) ++count;
  return count;
}

}  // namespace ingot
