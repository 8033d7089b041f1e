#include "formats/component_tensors.h"

namespace ingot {

const TensorEntry* ComponentTensors::Find(std::string_view name) const {
  const auto found = by_name->find(name);
  return found == by_name->end() ? nullptr : found->second;
}

TensorTable ComponentTensors::Table() const {
  TensorTable table(path());
  for (const auto& [name, entry] : *by_name) table.Add(name, {entry->dtype, entry->shape});
  return table;
}

int64_t ComponentTensors::num_bytes() const {
  int64_t total = 0;
  for (const auto& [name, entry] : *by_name) total += entry->num_bytes;
  return total;
}

ComponentTensors NameTensors(std::shared_ptr<const TensorFile> file,
                             const CanonicalName& canonical_name) {
  ComponentTensors::ByName by_name;
  for (const TensorEntry& entry : file->entries()) {
    if (std::optional<std::string> name = canonical_name(entry.name)) {
      by_name.emplace(*std::move(name), &entry);
    }
  }
  return {std::move(file), std::make_shared<const ComponentTensors::ByName>(std::move(by_name))};
}

}  // namespace ingot
