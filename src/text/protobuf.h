// Walks the fields of one protobuf message; trusts no length.
#pragma once

#include <cstdint>
#include <string_view>

#include "base/status.h"
#include "text/vocabulary.h"

namespace ingot {

class ProtobufReader {
 public:
  explicit ProtobufReader(NamedBytes message) : name_(message.name), rest_(message.bytes) {}

  // Goes to the next field: false at the end, kCorruption where the bytes are no field.
  Result<bool> Next();

  bool IsVarint(uint32_t field) const { return field == field_ && wire_type_ == 0; }
  bool IsBytes(uint32_t field) const { return field == field_ && wire_type_ == 2; }
  bool IsFixed32(uint32_t field) const { return field == field_ && wire_type_ == 5; }

  std::string_view bytes() const { return bytes_; }  // of a bytes field; else empty
  uint64_t number() const { return number_; }        // of a varint or fixed field
  float AsFloat() const;

 private:
  Result<uint64_t> ReadVarint();
  Result<uint64_t> ReadFixed(size_t num_bytes);
  Result<std::string_view> Take(uint64_t num_bytes);

  std::string_view name_;
  std::string_view rest_;
  uint32_t field_ = 0;
  uint32_t wire_type_ = 0;
  uint64_t number_ = 0;
  std::string_view bytes_;
};

}  // namespace ingot
