#include "formats/safetensors.h"

#include <array>
#include <limits>
#include <optional>

#include <nlohmann/json.hpp>

#include "formats/header_cursor.h"
#include "formats/limits.h"
#include "formats/names.h"
#include "formats/scaled_fp8.h"

namespace ingot {
namespace {

using Json = nlohmann::json;

// Takes the header apart as it is parsed: nothing nested deeper than the format
// is ever stored, and a name that stands twice is seen (a JSON object would
// keep the last).
//   {"name": {"dtype": "F16", "shape": [2, 3], "data_offsets": [0, 12]}, …,
//    "__metadata__": {"key": "value", …}}
class HeaderSax final : public nlohmann::json_sax<Json> {
 public:
  HeaderSax(std::string_view path, uint64_t data_start) : path_(path), data_start_(data_start) {}

  Status status;
  Metadata metadata;
  std::vector<TensorEntry> entries;

  bool key(string_t& text) override;
  bool start_object(size_t) override;
  bool end_object() override;
  bool start_array(size_t) override;
  bool end_array() override;
  bool string(string_t& text) override;
  bool number_unsigned(number_unsigned_t value) override;
  bool number_integer(number_integer_t value) override { return Unexpected(fmt::to_string(value)); }
  bool number_float(number_float_t, const string_t& text) override { return Unexpected(text); }
  bool null() override { return Unexpected("null"); }
  bool boolean(bool) override { return Unexpected("a bool"); }
  bool binary(binary_t&) override { return Unexpected("binary"); }
  bool parse_error(size_t position, const std::string&,
                   const nlohmann::detail::exception&) override {
    return Fail(Corruption("{}: header: expected JSON in UTF-8, found a fault at byte {} of it",
                           path_, position));
  }

 private:
  enum class Place { kStart, kTop, kMetadata, kTensor, kShape, kOffsets, kEnd };

  bool Fail(Status error) {
    status = std::move(error);
    return false;
  }
  // A value that the format does not have in this place.
  bool Unexpected(std::string_view found);
  Status FinishTensor();
  Status SetDType(const std::string& name);

  const std::string_view path_;
  const uint64_t data_start_;
  Place place_ = Place::kStart;
  std::string key_;    // in kMetadata
  std::string field_;  // in kTensor
  TensorEntry entry_;
  bool has_shape_ = false;
  std::optional<DType> dtype_;
  std::vector<uint64_t> offsets_;
};

bool HeaderSax::Unexpected(std::string_view found) {
  constexpr std::array<std::string_view, 7> kExpected = {"an object",
                                                         "an object for each tensor",
                                                         "strings",
                                                         "dtype, shape and data_offsets",
                                                         "up to 6 counts",
                                                         "two byte offsets",
                                                         "one object, no more"};
  const std::string_view expected = kExpected[static_cast<size_t>(place_)];
  if (place_ == Place::kStart || place_ == Place::kEnd) {
    return Fail(Corruption("{}: header: expected {}, found {}", path_, expected, found));
  }
  const std::string& name =
      place_ == Place::kMetadata || place_ == Place::kTop ? key_ : entry_.name;
  return Fail(
      Corruption("{}: header, at {}: expected {}, found {}", path_, Quoted(name), expected, found));
}

bool HeaderSax::start_object(size_t) {
  if (place_ == Place::kStart) {
    place_ = Place::kTop;
    return true;
  }
  if (place_ != Place::kTop) return Unexpected("an object");
  if (key_ == "__metadata__") {
    place_ = Place::kMetadata;
    return true;
  }
  place_ = Place::kTensor;
  entry_ = TensorEntry();
  entry_.name = key_;
  dtype_.reset();
  has_shape_ = false;
  offsets_.clear();
  return true;
}

bool HeaderSax::end_object() {
  if (place_ == Place::kTensor) {
    if (Status error = FinishTensor(); !error.ok()) return Fail(std::move(error));
  }
  place_ = place_ == Place::kTop ? Place::kEnd : Place::kTop;
  return true;
}

bool HeaderSax::key(string_t& text) {
  if (place_ != Place::kTensor) {
    key_ = std::move(text);
    return true;
  }
  const bool is_new = text == "dtype"          ? !dtype_
                      : text == "shape"        ? !has_shape_
                      : text == "data_offsets" ? offsets_.empty()
                                               : false;
  if (!is_new) return Unexpected(Quoted(text) + ", unknown or a second time");
  field_ = std::move(text);
  return true;
}

bool HeaderSax::start_array(size_t) {
  if (place_ != Place::kTensor || field_ == "dtype") return Unexpected("an array");
  place_ = field_ == "shape" ? Place::kShape : Place::kOffsets;
  return true;
}

bool HeaderSax::end_array() {
  if (place_ == Place::kOffsets && offsets_.size() != 2) {
    return Unexpected(fmt::format("{} of them", offsets_.size()));
  }
  if (place_ == Place::kShape) has_shape_ = true;
  place_ = Place::kTensor;
  return true;
}

bool HeaderSax::number_unsigned(number_unsigned_t value) {
  if (place_ == Place::kOffsets && offsets_.size() < 2) {
    offsets_.push_back(value);
    return true;
  }
  if (place_ == Place::kShape && entry_.shape.rank() < Shape::kMaxRank &&
      std::in_range<int64_t>(value)) {
    entry_.shape.push_back(static_cast<int64_t>(value));
    return true;
  }
  return Unexpected(fmt::format("the number {}", value));
}

bool HeaderSax::string(string_t& text) {
  if (place_ == Place::kMetadata) {
    if (metadata.Find(key_) != nullptr) return Unexpected("this key twice");
    metadata.Set(key_, std::move(text));
    return true;
  }
  if (place_ != Place::kTensor || field_ != "dtype") return Unexpected(Quoted(text));
  Status error = SetDType(text);
  return error.ok() || Fail(std::move(error));
}

Status HeaderSax::SetDType(const std::string& name) {
  const std::string what = "tensor " + Quoted(entry_.name);
  // The names of plain types are those of the reference; it has no blocks.
  const std::optional<DType> found = FindDType(name);
  if (!found || IsBlockFormat(*found)) {
    return Unsupported(
        "{}: {}: expected F32, F16, BF16, F8_E4M3, F8_E5M2, I64, I32 or U8, found {}", path_, what,
        Quoted(name));
  }
  dtype_ = found;
  return {};
}

Status HeaderSax::FinishTensor() {
  const std::string what = "tensor " + Quoted(entry_.name);
  if (!dtype_ || !has_shape_ || offsets_.empty()) {
    return Corruption("{}: {}: expected dtype, shape and data_offsets, found no {}", path_, what,
                      !dtype_       ? "dtype"
                      : !has_shape_ ? "shape"
                                    : "data_offsets");
  }
  entry_.dtype = *dtype_;
  INGOT_ASSIGN_OR_RETURN(entry_.num_bytes, CheckedNumBytes(path_, what, *dtype_, entry_.shape));
  const auto [begin, end] = std::pair(offsets_[0], offsets_[1]);
  if (begin > end || end - begin != static_cast<uint64_t>(entry_.num_bytes)) {
    return Corruption("{}: {}: expected data_offsets {} bytes apart for {} {}, found [{}, {}]",
                      path_, what, entry_.num_bytes, Name(*dtype_), entry_.shape.ToString(), begin,
                      end);
  }
  if (__builtin_add_overflow(data_start_, begin, &entry_.offset)) {
    return Corruption("{}: {}: expected data_offsets inside the file, found [{}, {}]", path_, what,
                      begin, end);
  }
  entries.push_back(std::move(entry_));
  return {};
}

Result<std::string> ReadHeader(const File& file) {
  HeaderCursor cursor(file, 8 + kMaxHeaderBytes);
  uint64_t num_bytes;
  INGOT_RETURN_IF_ERROR(cursor.Read("header length", &num_bytes));
  INGOT_RETURN_IF_ERROR(cursor.CheckRoom("header", num_bytes, 1));
  std::string header(num_bytes, '\0');
  INGOT_RETURN_IF_ERROR(cursor.ReadBytes("header", std::as_writable_bytes(std::span(header))));
  return header;
}

// bitsandbytes keeps a packed weight as U8 beside a tensor that names its type.
Status RefuseBitsAndBytes(const File& file, const std::vector<TensorEntry>& entries) {
  for (const TensorEntry& entry : entries) {
    for (const std::string_view type : {"nf4", "fp4"}) {
      if (entry.name.ends_with(fmt::format(".quant_state.bitsandbytes__{}", type))) {
        return Unsupported(
            "{}: tensor {}: bitsandbytes {} is not a type Ingot reads; use the Q4_0 or Q4_K GGUF "
            "file of this model, which is as small",
            file.path(), Quoted(entry.name), type == "nf4" ? "NF4" : "FP4");
      }
    }
  }
  return {};
}

}  // namespace

Result<TensorFile> ReadSafetensors(std::shared_ptr<const File> file) {
  INGOT_ASSIGN_OR_RETURN(const std::string header, ReadHeader(*file));
  HeaderSax sax(file->path(), 8 + header.size());
  if (!Json::sax_parse(header, &sax)) return sax.status;
  INGOT_RETURN_IF_ERROR(RefuseBitsAndBytes(*file, sax.entries));
  INGOT_ASSIGN_OR_RETURN(TensorFile whole, TensorFile::Make({.file = file,
                                                             .kind = "safetensors",
                                                             .metadata = std::move(sax.metadata),
                                                             .entries = std::move(sax.entries)}));
  return FoldScales(std::move(whole));
}

}  // namespace ingot
