// Key-value metadata of a weights file, with the types that GGUF gives them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <variant>
#include <vector>

namespace ingot {

// One array of metadata. GGUF's arrays of arrays are refused, as in ggml; their
// place in the numbering stays empty.
using MetaArray =
    std::variant<std::vector<uint8_t>, std::vector<int8_t>, std::vector<uint16_t>,
                 std::vector<int16_t>, std::vector<uint32_t>, std::vector<int32_t>,
                 std::vector<float>, std::vector<bool>, std::vector<std::string>, std::monostate,
                 std::vector<uint64_t>, std::vector<int64_t>, std::vector<double>>;

// The alternatives stand in the order of GGUF's value types (gguf.h, enum
// gguf_type), here and in MetaArray: index() is the number in the file, and a
// file that is read and written again keeps every type. safetensors has strings
// only.
using MetaValue = std::variant<uint8_t, int8_t, uint16_t, int16_t, uint32_t, int32_t, float, bool,
                               std::string, MetaArray, uint64_t, int64_t, double>;

// Keys in the order of the file. Each getter gives nothing when the key is
// absent or holds another kind of value.
class Metadata {
 public:
  using Item = std::pair<std::string, MetaValue>;

  const std::vector<Item>& items() const { return items_; }
  // Replaces the value of a key, or appends it.
  void Set(std::string key, MetaValue value);

  const MetaValue* Find(std::string_view key) const;
  // Any integer type whose value an int64_t holds; bool is not an integer.
  std::optional<int64_t> FindInt(std::string_view key) const;
  std::optional<double> FindFloat(std::string_view key) const;  // float or double
  std::optional<bool> FindBool(std::string_view key) const;
  const std::string* FindString(std::string_view key) const;
  const std::vector<std::string>* FindStrings(std::string_view key) const;
  std::optional<std::vector<int64_t>> FindInts(std::string_view key) const;
  std::optional<std::vector<double>> FindFloats(std::string_view key) const;

 private:
  std::vector<Item> items_;
  std::unordered_map<std::string, size_t> index_;  // key -> position in items_
};

}  // namespace ingot
