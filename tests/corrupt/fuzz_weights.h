// Reads fuzzed bytes with one of the readers of weights, then each small tensor.
#pragma once

#include <memory>
#include <span>
#include <vector>

#include "base/check.h"
#include "formats/gguf.h"
#include "formats/safetensors.h"
#include "formats/tensor_file.h"
#include "memory_file.h"

namespace ingot {

inline void ReadWeights(Result<TensorFile> (*read)(std::shared_ptr<const File>),
                        std::span<const std::byte> bytes) {
  const MemoryFile file(bytes);
  const auto opened = File::Open(file.path());
  INGOT_CHECK(opened.ok());
  const auto weights = read(*opened);
  if (!weights.ok()) {
    INGOT_CHECK(weights.status().message().find('\n') == std::string::npos);
    return;
  }
  for (const TensorEntry& entry : weights->entries()) {
    std::vector<std::byte> tensor(static_cast<size_t>(entry.num_bytes));
    INGOT_CHECK(weights->ReadTensor(entry, tensor).ok());
  }
}

}  // namespace ingot
