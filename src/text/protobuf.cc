// Wire format of protobuf: varints, fixed numbers, bytes. Groups are refused.
#include "text/protobuf.h"

#include <bit>

namespace ingot {

Result<bool> ProtobufReader::Next() {
  field_ = 0;  // no field, so that a caller who looks after the end sees none
  bytes_ = {};
  number_ = 0;
  if (rest_.empty()) return false;
  INGOT_ASSIGN_OR_RETURN(const uint64_t tag, ReadVarint());
  wire_type_ = tag & 7;
  switch (wire_type_) {
    case 0: {
      INGOT_ASSIGN_OR_RETURN(number_, ReadVarint());
      break;
    }
    case 1: {
      INGOT_ASSIGN_OR_RETURN(number_, ReadFixed(8));
      break;
    }
    case 2: {
      INGOT_ASSIGN_OR_RETURN(const uint64_t length, ReadVarint());
      INGOT_ASSIGN_OR_RETURN(bytes_, Take(length));
      break;
    }
    case 5: {
      INGOT_ASSIGN_OR_RETURN(number_, ReadFixed(4));
      break;
    }
    default:
      return Corruption("{}: no protobuf (wire type {})", name_, wire_type_);
  }
  field_ = tag >> 3 > UINT32_MAX ? 0 : static_cast<uint32_t>(tag >> 3);
  return true;
}

float ProtobufReader::AsFloat() const {
  return std::bit_cast<float>(static_cast<uint32_t>(number_));
}

Result<uint64_t> ProtobufReader::ReadVarint() {
  uint64_t value = 0;
  for (int shift = 0; shift < 64; shift += 7) {
    INGOT_ASSIGN_OR_RETURN(const std::string_view byte, Take(1));
    value |= uint64_t{static_cast<uint8_t>(byte[0]) & 0x7fu} << shift;
    if (!(static_cast<uint8_t>(byte[0]) & 0x80)) return value;
  }
  return Corruption("{}: a number of more than 64 bits", name_);
}

Result<uint64_t> ProtobufReader::ReadFixed(size_t num_bytes) {
  INGOT_ASSIGN_OR_RETURN(const std::string_view bytes, Take(num_bytes));
  uint64_t value = 0;
  for (size_t i = 0; i < num_bytes; ++i) {
    value |= uint64_t{static_cast<uint8_t>(bytes[i])} << (8 * i);
  }
  return value;
}

Result<std::string_view> ProtobufReader::Take(uint64_t num_bytes) {
  if (num_bytes > rest_.size()) {
    return Corruption("{}: ends early, {} bytes expected, {} left", name_, num_bytes, rest_.size());
  }
  const std::string_view taken = rest_.substr(0, num_bytes);
  rest_.remove_prefix(num_bytes);
  return taken;
}

}  // namespace ingot
