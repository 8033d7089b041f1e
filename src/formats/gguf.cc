#include "formats/gguf.h"

#include <array>
#include <bit>
#include <utility>

#include "formats/header_cursor.h"
#include "formats/limits.h"
#include "formats/names.h"

namespace ingot {
namespace {

constexpr std::string_view kOrigShapePrefix = "comfy.gguf.orig_shape.";
constexpr uint64_t kMaxNameBytes = 65535;  // gguf.md: a key has at most 2^16 - 1 bytes

// Names of ggml.h, enum ggml_type, by number; empty where a type was removed.
constexpr std::array<std::string_view, 42> kGgmlTypeNames = {
    "F32",     "F16",   "Q4_0",   "Q4_1",  "",      "",       "Q5_0", "Q5_1",    "Q8_0",
    "Q8_1",    "Q2_K",  "Q3_K",   "Q4_K",  "Q5_K",  "Q6_K",   "Q8_K", "IQ2_XXS", "IQ2_XS",
    "IQ3_XXS", "IQ1_S", "IQ4_NL", "IQ3_S", "IQ2_S", "IQ4_XS", "I8",   "I16",     "I32",
    "I64",     "F64",   "IQ1_M",  "BF16",  "",      "",       "",     "TQ1_0",   "TQ2_0",
    "",        "",      "",       "MXFP4", "NVFP4", "Q1_0"};

// Reads one file: preamble, metadata, tensor table.
class Reader {
 public:
  explicit Reader(std::shared_ptr<const File> file)
      : file_(std::move(file)), cursor_(*file_, kMaxHeaderBytes) {}

  Result<TensorFile> Read();

 private:
  Status ReadPreamble();
  Status ReadMetadata();
  Status ReadItem(uint64_t item_idx);
  Status ReadAlignment();
  Status ReadTensors();
  Status ReadTensor(uint64_t tensor_idx);
  Status ReadDims(const std::string& what, Shape* shape);
  Status ReadType(const std::string& what, DType* dtype);
  Status RestoreShape(const std::string& what, TensorEntry* entry) const;

  // Values of metadata, by the type to be filled.
  template <typename T>
  Status ReadValue(std::string_view what, T* value) {
    return cursor_.Read(what, value);
  }
  template <typename T>
  Status ReadValue(std::string_view what, std::vector<T>* values);
  Status ReadValue(std::string_view what, bool* value);
  Status ReadValue(std::string_view what, std::string* value);
  Status ReadValue(std::string_view what, std::monostate*);
  Status ReadValue(std::string_view what, MetaArray* value);
  template <typename Variant>
  Status ReadVariant(std::string_view what, Variant* value);

  Status ReadName(std::string_view what, std::string* name);

  const std::shared_ptr<const File> file_;
  HeaderCursor cursor_;
  uint32_t version_ = 0;
  uint64_t num_tensors_ = 0;
  uint64_t num_items_ = 0;
  uint64_t alignment_ = kGgufDefaultAlignment;
  Metadata metadata_;
  std::vector<TensorEntry> entries_;
};

Result<TensorFile> Reader::Read() {
  INGOT_RETURN_IF_ERROR(ReadPreamble());
  INGOT_RETURN_IF_ERROR(ReadMetadata());
  INGOT_RETURN_IF_ERROR(ReadAlignment());
  INGOT_RETURN_IF_ERROR(ReadTensors());
  return TensorFile::Make({.file = file_,
                           .kind = fmt::format("GGUF v{}", version_),
                           .metadata = std::move(metadata_),
                           .entries = std::move(entries_)});
}

Status Reader::ReadPreamble() {
  uint32_t magic;
  INGOT_RETURN_IF_ERROR(cursor_.Read("magic", &magic));
  INGOT_RETURN_IF_ERROR(cursor_.Read("version", &version_));
  if (version_ != 0 && (version_ & 0xFFFF) == 0) {
    return Unsupported("{}: version: expected little-endian GGUF, found big-endian", file_->path());
  }
  if (version_ != 2 && version_ != 3) {
    return Unsupported("{}: version: expected GGUF v2 or v3, found v{}", file_->path(), version_);
  }
  INGOT_RETURN_IF_ERROR(cursor_.Read("number of tensors", &num_tensors_));
  INGOT_RETURN_IF_ERROR(cursor_.Read("number of metadata keys", &num_items_));
  // The least a key takes: length, type, one byte of value; a tensor: length,
  // rank, type, offset.
  INGOT_RETURN_IF_ERROR(cursor_.CheckRoom("metadata", num_items_, 8 + 4 + 1));
  return cursor_.CheckRoom("tensor table", num_tensors_, 8 + 4 + 4 + 8);
}

Status Reader::ReadMetadata() {
  for (uint64_t item_idx = 0; item_idx < num_items_; ++item_idx) {
    INGOT_RETURN_IF_ERROR(ReadItem(item_idx));
  }
  return {};
}

Status Reader::ReadItem(uint64_t item_idx) {
  std::string key;
  INGOT_RETURN_IF_ERROR(
      ReadName(fmt::format("metadata key {} of {}", item_idx + 1, num_items_), &key));
  const std::string what = "metadata " + Quoted(key);
  if (metadata_.Find(key) != nullptr) {
    return Corruption("{}: {}: expected a key of its own, found it twice", file_->path(), what);
  }
  MetaValue value;
  INGOT_RETURN_IF_ERROR(ReadVariant(what, &value));
  metadata_.Set(std::move(key), std::move(value));
  return {};
}

Status Reader::ReadAlignment() {
  if (metadata_.Find(kGgufAlignmentKey) == nullptr) return {};
  alignment_ = static_cast<uint64_t>(metadata_.FindInt(kGgufAlignmentKey).value_or(0));
  if (!std::has_single_bit(alignment_) || alignment_ > kGgufMaxAlignment) {
    return Corruption("{}: metadata {}: expected a power of two up to {}, found {}", file_->path(),
                      Quoted(kGgufAlignmentKey), kGgufMaxAlignment, alignment_);
  }
  return {};
}

Status Reader::ReadTensors() {
  INGOT_RETURN_IF_ERROR(cursor_.CheckRoom("tensor table", num_tensors_, 8 + 4 + 4 + 8));
  for (uint64_t tensor_idx = 0; tensor_idx < num_tensors_; ++tensor_idx) {
    INGOT_RETURN_IF_ERROR(ReadTensor(tensor_idx));
  }
  // Offsets count from the first aligned byte behind the table.
  const uint64_t padding = -cursor_.position() & (alignment_ - 1);
  for (TensorEntry& entry : entries_) entry.offset += cursor_.position() + padding;
  return {};
}

Status Reader::ReadTensor(uint64_t tensor_idx) {
  TensorEntry entry;
  INGOT_RETURN_IF_ERROR(
      ReadName(fmt::format("name of tensor {} of {}", tensor_idx + 1, num_tensors_), &entry.name));
  const std::string what = "tensor " + Quoted(entry.name);
  INGOT_RETURN_IF_ERROR(ReadDims(what, &entry.shape));
  INGOT_RETURN_IF_ERROR(ReadType(what, &entry.dtype));
  INGOT_RETURN_IF_ERROR(cursor_.Read(what, &entry.offset));
  const int64_t block_elements = Info(entry.dtype).block_elements;
  if (entry.shape.rank() > 0 && entry.shape.back() % block_elements != 0) {
    return Corruption("{}: {}: expected rows of a multiple of {} elements for {}, found {}",
                      file_->path(), what, block_elements, Name(entry.dtype), entry.shape.back());
  }
  INGOT_ASSIGN_OR_RETURN(entry.num_bytes,
                         CheckedNumBytes(file_->path(), what, entry.dtype, entry.shape));
  // Also keeps the sums with offsets far from overflow.
  if (entry.offset > file_->size_bytes() || entry.offset % alignment_ != 0) {
    return Corruption("{}: {}: expected an offset inside {} bytes and a multiple of {}, found {}",
                      file_->path(), what, file_->size_bytes(), alignment_, entry.offset);
  }
  INGOT_RETURN_IF_ERROR(RestoreShape(what, &entry));
  entries_.push_back(std::move(entry));
  return {};
}

Status Reader::ReadDims(const std::string& what, Shape* shape) {
  uint32_t num_dims;
  INGOT_RETURN_IF_ERROR(cursor_.Read(what, &num_dims));
  if (num_dims > kGgufMaxDims) {
    return Corruption("{}: {}: expected at most {} dimensions, found {}", file_->path(), what,
                      kGgufMaxDims, num_dims);
  }
  std::array<int64_t, kGgufMaxDims> innermost_first;
  for (uint32_t i = 0; i < num_dims; ++i) {
    INGOT_RETURN_IF_ERROR(cursor_.Read(what, &innermost_first[i]));
  }
  for (uint32_t i = num_dims; i-- > 0;) shape->push_back(innermost_first[i]);
  return {};
}

Status Reader::ReadType(const std::string& what, DType* dtype) {
  uint32_t number;
  INGOT_RETURN_IF_ERROR(cursor_.Read(what, &number));
  const std::string_view name = number < kGgmlTypeNames.size() ? kGgmlTypeNames[number] : "";
  if (name.empty()) {
    return Corruption("{}: {}: expected a ggml type, found number {}", file_->path(), what, number);
  }
  const std::optional<DType> found = FindDType(name);
  if (!found) {
    return Unsupported(
        "{}: {}: {} is not a type Ingot reads; use a Q4_0 to Q8_0 or Q2_K to Q6_K file",
        file_->path(), what, name);
  }
  *dtype = *found;
  return {};
}

// city96's converter flattens convolutions whose rows are no multiple of a
// block, and keeps their shape in the metadata.
Status Reader::RestoreShape(const std::string& what, TensorEntry* entry) const {
  const std::string key = std::string(kOrigShapePrefix) + entry->name;
  if (metadata_.Find(key) == nullptr) return {};
  const auto dims = metadata_.FindInts(key).value_or(std::vector<int64_t>());
  if (dims.empty() || dims.size() > Shape::kMaxRank) {
    return Corruption("{}: {}: expected 1 to {} integers in its orig_shape, found {}",
                      file_->path(), what, Shape::kMaxRank, dims.size());
  }
  const Shape original{std::span<const int64_t>(dims)};
  INGOT_RETURN_IF_ERROR(CheckedNumElements(file_->path(), what + " orig_shape", original).status());
  if (original.num_elements() != entry->shape.num_elements()) {
    return Corruption("{}: {}: expected {} elements in its orig_shape, found {}", file_->path(),
                      what, entry->shape.num_elements(), original.ToString());
  }
  entry->shape = original;
  return {};
}

Status Reader::ReadName(std::string_view what, std::string* name) {
  uint64_t num_bytes;
  INGOT_RETURN_IF_ERROR(cursor_.Read(what, &num_bytes));
  if (num_bytes > kMaxNameBytes) {
    return Corruption("{}: {}: expected at most {} bytes, found {}", file_->path(), what,
                      kMaxNameBytes, num_bytes);
  }
  INGOT_RETURN_IF_ERROR(cursor_.CheckRoom(what, num_bytes, 1));
  name->resize(num_bytes);
  INGOT_RETURN_IF_ERROR(cursor_.ReadBytes(what, std::as_writable_bytes(std::span(*name))));
  if (IsUtf8(*name)) return {};
  return Corruption("{}: {}: expected UTF-8, found {}", file_->path(), what, Quoted(*name));
}

// Strings of metadata are not checked for UTF-8: vocabularies hold byte tokens.
Status Reader::ReadValue(std::string_view what, std::string* value) {
  uint64_t num_bytes;
  INGOT_RETURN_IF_ERROR(cursor_.Read(what, &num_bytes));
  INGOT_RETURN_IF_ERROR(cursor_.CheckRoom(what, num_bytes, 1));
  value->resize(num_bytes);
  return cursor_.ReadBytes(what, std::as_writable_bytes(std::span(*value)));
}

Status Reader::ReadValue(std::string_view what, bool* value) {
  uint8_t byte;
  INGOT_RETURN_IF_ERROR(cursor_.Read(what, &byte));
  if (byte > 1) {
    return Corruption("{}: {}: expected a bool of 0 or 1, found {}", file_->path(), what, byte);
  }
  *value = byte == 1;
  return {};
}

Status Reader::ReadValue(std::string_view what, std::monostate*) {
  return Unsupported("{}: {}: an array of arrays is not a value Ingot reads", file_->path(), what);
}

template <typename T>
Status Reader::ReadValue(std::string_view what, std::vector<T>* values) {
  uint64_t count;
  INGOT_RETURN_IF_ERROR(cursor_.Read(what, &count));
  // A string takes at least its length.
  INGOT_RETURN_IF_ERROR(
      cursor_.CheckRoom(what, count, std::is_same_v<T, std::string> ? 8 : sizeof(T)));
  for (uint64_t i = 0; i < count; ++i) {
    T value;
    INGOT_RETURN_IF_ERROR(ReadValue(what, &value));
    values->push_back(std::move(value));
  }
  return {};
}

Status Reader::ReadValue(std::string_view what, MetaArray* value) {
  return ReadVariant(what, value);
}

// A type number, then the value: the number picks the alternative.
template <typename Variant>
Status Reader::ReadVariant(std::string_view what, Variant* value) {
  uint32_t number;
  INGOT_RETURN_IF_ERROR(cursor_.Read(what, &number));
  Status status = Corruption("{}: {}: expected a value type below {}, found {}", file_->path(),
                             what, std::variant_size_v<Variant>, number);
  [&]<size_t... I>(std::index_sequence<I...>) {
    ((number == I ? void(status = ReadValue(what, &value->template emplace<I>())) : void()), ...);
  }
  (std::make_index_sequence<std::variant_size_v<Variant>>());
  return status;
}

}  // namespace

Result<TensorFile> ReadGguf(std::shared_ptr<const File> file) {
  return Reader(std::move(file)).Read();
}

std::optional<uint32_t> GgmlTypeNumber(DType dtype) {
  for (uint32_t number = 0; number < kGgmlTypeNames.size(); ++number) {
    if (kGgmlTypeNames[number] == Name(dtype)) return number;
  }
  return std::nullopt;
}

}  // namespace ingot
