#include "formats/tensor_writer.h"

#include <bit>
#include <type_traits>
#include <unordered_set>

#include <nlohmann/json.hpp>

#include "formats/gguf.h"
#include "formats/limits.h"
#include "formats/names.h"

namespace ingot {
namespace {

uint64_t AlignUp(uint64_t position, uint64_t alignment) {
  return position + (-position & (alignment - 1));
}

std::string_view View(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

// What both formats ask of their tensors.
Status CheckTensors(std::span<const TensorSpec> tensors) {
  std::unordered_set<std::string_view> names;
  for (const TensorSpec& tensor : tensors) {
    if (!IsUtf8(tensor.name) || !names.insert(tensor.name).second) {
      return InvalidArgument("tensor {}: expected a UTF-8 name of its own", Quoted(tensor.name));
    }
    const int64_t block = Info(tensor.dtype).block_elements;
    if (block > 1 && (tensor.shape.rank() == 0 || tensor.shape.back() % block != 0)) {
      return InvalidArgument(
          "tensor {}: expected rows of a multiple of {} elements for {}, found {}",
          Quoted(tensor.name), block, Name(tensor.dtype), tensor.shape.ToString());
    }
    if (!CheckedNumBytes("", "", tensor.dtype, tensor.shape).ok()) {
      return InvalidArgument("tensor {}: expected less than 2^63 bytes, found {}",
                             Quoted(tensor.name), tensor.shape.ToString());
    }
  }
  return {};
}

// Values of GGUF, appended to a header.
template <typename T>
void Put(std::string* out, T value) {
  static_assert(std::is_arithmetic_v<T>);
  out->append(View(std::as_bytes(std::span(&value, 1))));
}
void Put(std::string* out, const std::string& text) {
  Put(out, uint64_t{text.size()});
  out->append(text);
}
void Put(std::string*, std::monostate) {}
template <typename T>
void Put(std::string* out, const std::vector<T>& values) {
  Put(out, uint64_t{values.size()});
  for (const T& value : values) Put(out, value);
}
template <typename... T>
void Put(std::string* out, const std::variant<T...>& value) {
  Put(out, static_cast<uint32_t>(value.index()));
  std::visit([&](const auto& v) { Put(out, v); }, value);
}

Result<uint32_t> GgufType(const TensorSpec& tensor) {
  const std::optional<uint32_t> number = GgmlTypeNumber(tensor.dtype);
  if (number && tensor.shape.rank() <= kGgufMaxDims) return *number;
  return InvalidArgument("tensor {}: expected a GGUF type of at most {} dimensions, found {} {}",
                         Quoted(tensor.name), kGgufMaxDims, Name(tensor.dtype),
                         tensor.shape.ToString());
}

Result<std::string> GgufHeader(const Metadata& metadata, std::span<const TensorSpec> tensors,
                               uint64_t alignment) {
  std::string header(kGgufMagic);
  Put(&header, uint32_t{3});
  Put(&header, uint64_t{tensors.size()});
  Put(&header, uint64_t{metadata.items().size()});
  for (const auto& [key, value] : metadata.items()) {
    Put(&header, key);
    Put(&header, value);
  }
  uint64_t offset = 0;
  for (const TensorSpec& tensor : tensors) {
    INGOT_ASSIGN_OR_RETURN(const uint32_t type, GgufType(tensor));
    Put(&header, tensor.name);
    Put(&header, static_cast<uint32_t>(tensor.shape.rank()));
    for (int axis = tensor.shape.rank(); axis-- > 0;) Put(&header, tensor.shape[axis]);
    Put(&header, type);
    Put(&header, offset);
    offset =
        AlignUp(offset + static_cast<uint64_t>(NumBytes(tensor.dtype, tensor.shape)), alignment);
  }
  header.resize(AlignUp(header.size(), alignment));
  return header;
}

Result<std::string> SafetensorsHeader(const Metadata& metadata,
                                      std::span<const TensorSpec> tensors) {
  // ordered_json keeps the order given; the reference sorts by alignment, which
  // is a recommendation to writers and no rule.
  nlohmann::ordered_json json = nlohmann::ordered_json::object();
  for (const auto& [key, value] : metadata.items()) {
    const std::string* text = std::get_if<std::string>(&value);
    if (text == nullptr || !IsUtf8(key) || !IsUtf8(*text)) {
      return InvalidArgument("metadata {}: expected a UTF-8 string for safetensors", Quoted(key));
    }
    json["__metadata__"][key] = *text;
  }
  uint64_t offset = 0;
  for (const TensorSpec& tensor : tensors) {
    if (IsBlockFormat(tensor.dtype) || tensor.name == "__metadata__") {
      return InvalidArgument("tensor {}: expected a type and name that safetensors has, found {}",
                             Quoted(tensor.name), Name(tensor.dtype));
    }
    const uint64_t end = offset + static_cast<uint64_t>(NumBytes(tensor.dtype, tensor.shape));
    json[tensor.name] = {{"dtype", Name(tensor.dtype)},
                         {"shape", std::vector<int64_t>(tensor.shape.begin(), tensor.shape.end())},
                         {"data_offsets", {offset, end}}};
    offset = end;
  }
  std::string text = json.dump();
  text.resize(AlignUp(text.size(), 8), ' ');  // as the reference pads
  std::string header;
  Put(&header, uint64_t{text.size()});
  return header + text;
}

}  // namespace

Result<std::unique_ptr<TensorWriter>> TensorWriter::CreateGguf(
    const std::filesystem::path& path, const Metadata& metadata,
    std::span<const TensorSpec> tensors) {
  INGOT_RETURN_IF_ERROR(CheckTensors(tensors));
  uint64_t alignment = kGgufDefaultAlignment;
  if (metadata.Find(kGgufAlignmentKey) != nullptr) {
    alignment = static_cast<uint64_t>(metadata.FindInt(kGgufAlignmentKey).value_or(0));
    if (!std::has_single_bit(alignment) || alignment > kGgufMaxAlignment) {
      return InvalidArgument("metadata {}: expected a power of two up to {}, found {}",
                             kGgufAlignmentKey, kGgufMaxAlignment, alignment);
    }
  }
  INGOT_ASSIGN_OR_RETURN(std::string header, GgufHeader(metadata, tensors, alignment));
  return Start(path, tensors, std::move(header), alignment);
}

Result<std::unique_ptr<TensorWriter>> TensorWriter::CreateSafetensors(
    const std::filesystem::path& path, const Metadata& metadata,
    std::span<const TensorSpec> tensors) {
  INGOT_RETURN_IF_ERROR(CheckTensors(tensors));
  INGOT_ASSIGN_OR_RETURN(std::string header, SafetensorsHeader(metadata, tensors));
  return Start(path, tensors, std::move(header), 1);
}

Result<std::unique_ptr<TensorWriter>> TensorWriter::Start(const std::filesystem::path& path,
                                                          std::span<const TensorSpec> tensors,
                                                          std::string header, uint64_t alignment) {
  INGOT_ASSIGN_OR_RETURN(std::unique_ptr<AtomicFile> file, AtomicFile::Create(path));
  INGOT_RETURN_IF_ERROR(file->Write(std::as_bytes(std::span(header))));
  std::vector<int64_t> sizes_bytes;
  for (const TensorSpec& tensor : tensors) {
    sizes_bytes.push_back(NumBytes(tensor.dtype, tensor.shape));
  }
  return std::unique_ptr<TensorWriter>(
      new TensorWriter(std::move(file), alignment, std::move(sizes_bytes)));
}

Status TensorWriter::Append(std::span<const std::byte> tensor_bytes) {
  INGOT_CHECK(next_ < sizes_bytes_.size());
  INGOT_CHECK(tensor_bytes.size() == static_cast<size_t>(sizes_bytes_[next_]));
  ++next_;
  INGOT_RETURN_IF_ERROR(file_->Write(tensor_bytes));
  const std::vector<std::byte> padding(AlignUp(tensor_bytes.size(), alignment_) -
                                       tensor_bytes.size());
  return file_->Write(padding);
}

Status TensorWriter::Commit() {
  INGOT_CHECK(next_ == sizes_bytes_.size());
  return file_->Commit();
}

}  // namespace ingot
