#include "support/header_only_gguf.h"

#include <fstream>
#include <string>

#include "base/check.h"
#include "formats/gguf.h"

namespace ingot {
namespace {

template <typename T>
void Put(std::string& header, T value) {
  header.append(reinterpret_cast<const char*>(&value), sizeof(value));
}

uint64_t AlignUp(uint64_t position) {
  return (position + kGgufDefaultAlignment - 1) / kGgufDefaultAlignment * kGgufDefaultAlignment;
}

}  // namespace

Status WriteHeaderOnlyGguf(const std::filesystem::path& path, std::span<const TensorSpec> tensors) {
  std::string header(kGgufMagic);
  Put(header, uint32_t{3});
  Put(header, uint64_t{tensors.size()});
  Put(header, uint64_t{0});  // metadata
  uint64_t data_bytes = 0;
  for (const TensorSpec& tensor : tensors) {
    const std::optional<uint32_t> type = GgmlTypeNumber(tensor.dtype);
    INGOT_CHECK(type.has_value() && tensor.shape.rank() <= kGgufMaxDims);
    Put(header, uint64_t{tensor.name.size()});
    header += tensor.name;
    Put(header, static_cast<uint32_t>(tensor.shape.rank()));
    for (int axis = tensor.shape.rank(); axis-- > 0;) Put(header, tensor.shape[axis]);
    Put(header, *type);
    Put(header, data_bytes);
    data_bytes = AlignUp(data_bytes + static_cast<uint64_t>(NumBytes(tensor.dtype, tensor.shape)));
  }
  std::ofstream(path, std::ios::binary) << header;
  std::error_code error;
  std::filesystem::resize_file(path, AlignUp(header.size()) + data_bytes, error);
  if (error) return Unavailable("{}: cannot write: {}", path.string(), error.message());
  return {};
}

}  // namespace ingot
