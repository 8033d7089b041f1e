#include "formats/component_tensors.h"

namespace ingot {

TensorTable ComponentTensors::Table() const {
  TensorTable table(path());
  for (const auto& [name, entry] : by_name) table.Add(name, {entry->dtype, entry->shape});
  return table;
}

int64_t ComponentTensors::num_bytes() const {
  int64_t total = 0;
  for (const auto& [name, entry] : by_name) total += entry->num_bytes;
  return total;
}

ComponentTensors NameTensors(std::shared_ptr<const TensorFile> file,
                             const CanonicalName& canonical_name) {
  ComponentTensors tensors;
  for (const TensorEntry& entry : file->entries()) {
    if (std::optional<std::string> name = canonical_name(entry.name)) {
      tensors.by_name.emplace(*std::move(name), &entry);
    }
  }
  tensors.file = std::move(file);
  return tensors;
}

}  // namespace ingot
