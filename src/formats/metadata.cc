#include "formats/metadata.h"

#include <concepts>

namespace ingot {
namespace {

template <typename T>
concept Integer = std::integral<T> && !std::same_as<T, bool>;

std::optional<int64_t> ToInt(Integer auto value) {
  if (!std::in_range<int64_t>(value)) return std::nullopt;
  return static_cast<int64_t>(value);
}

}  // namespace

void Metadata::Set(std::string key, MetaValue value) {
  const auto [position, is_new] = index_.try_emplace(key, items_.size());
  if (is_new) {
    items_.emplace_back(std::move(key), std::move(value));
  } else {
    items_[position->second].second = std::move(value);
  }
}

const MetaValue* Metadata::Find(std::string_view key) const {
  const auto position = index_.find(std::string(key));
  return position == index_.end() ? nullptr : &items_[position->second].second;
}

std::optional<int64_t> Metadata::FindInt(std::string_view key) const {
  const MetaValue* value = Find(key);
  if (value == nullptr) return std::nullopt;
  return std::visit(
      [](const auto& v) -> std::optional<int64_t> {
        if constexpr (Integer<std::remove_cvref_t<decltype(v)>>) {
          return ToInt(v);
        } else {
          return std::nullopt;
        }
      },
      *value);
}

std::optional<double> Metadata::FindFloat(std::string_view key) const {
  const MetaValue* value = Find(key);
  if (value == nullptr) return std::nullopt;
  if (const float* f = std::get_if<float>(value)) return *f;
  if (const double* d = std::get_if<double>(value)) return *d;
  return std::nullopt;
}

std::optional<bool> Metadata::FindBool(std::string_view key) const {
  const MetaValue* value = Find(key);
  const bool* b = value == nullptr ? nullptr : std::get_if<bool>(value);
  return b == nullptr ? std::nullopt : std::optional(*b);
}

const std::string* Metadata::FindString(std::string_view key) const {
  const MetaValue* value = Find(key);
  return value == nullptr ? nullptr : std::get_if<std::string>(value);
}

const std::vector<std::string>* Metadata::FindStrings(std::string_view key) const {
  const MetaValue* value = Find(key);
  const MetaArray* array = value == nullptr ? nullptr : std::get_if<MetaArray>(value);
  return array == nullptr ? nullptr : std::get_if<std::vector<std::string>>(array);
}

std::optional<std::vector<int64_t>> Metadata::FindInts(std::string_view key) const {
  const MetaValue* value = Find(key);
  const MetaArray* array = value == nullptr ? nullptr : std::get_if<MetaArray>(value);
  if (array == nullptr) return std::nullopt;
  return std::visit(
      []<typename V>(const V& values) -> std::optional<std::vector<int64_t>> {
        if constexpr (requires { requires Integer<typename V::value_type>; }) {
          std::vector<int64_t> ints;
          for (const auto v : values) {
            const std::optional<int64_t> as_int = ToInt(v);
            if (!as_int) return std::nullopt;
            ints.push_back(*as_int);
          }
          return ints;
        } else {
          return std::nullopt;
        }
      },
      *array);
}

std::optional<std::vector<double>> Metadata::FindFloats(std::string_view key) const {
  const MetaValue* value = Find(key);
  const MetaArray* array = value == nullptr ? nullptr : std::get_if<MetaArray>(value);
  if (array == nullptr) return std::nullopt;
  if (const auto* floats = std::get_if<std::vector<float>>(array)) {
    return std::vector<double>(floats->begin(), floats->end());
  }
  const auto* doubles = std::get_if<std::vector<double>>(array);
  return doubles == nullptr ? std::nullopt : std::optional(*doubles);
}

}  // namespace ingot
