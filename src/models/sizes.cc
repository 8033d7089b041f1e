#include "models/sizes.h"

#include <charconv>
#include <string>

namespace ingot {
namespace {

// Name of a tensor `prefix.I.…` with I >= count, or empty.
std::string_view FindBlockBehind(const TensorTable& table, const std::string& prefix, int count) {
  const auto& tensors = table.tensors();
  for (auto it = tensors.lower_bound(prefix); it != tensors.end(); ++it) {
    const std::string_view name = it->first;
    if (!name.starts_with(prefix)) break;
    const std::string_view rest = name.substr(prefix.size());
    int64_t idx = -1;
    const auto [end, error] = std::from_chars(rest.data(), rest.data() + rest.size(), idx);
    if (error == std::errc::result_out_of_range || (error == std::errc{} && idx >= count)) {
      return name;
    }
  }
  return {};
}

}  // namespace

Result<Shape> GetDimensions(const TensorTable& table, std::string_view name, int rank) {
  INGOT_ASSIGN_OR_RETURN(const Shape shape, table.GetShape(name, rank));
  for (int64_t dim : shape) {
    if (dim < 1 || dim > kMaxDimension) {
      return Corruption("{}: tensor '{}': expected dimensions from 1 to {}, found shape {}",
                        table.source(), name, kMaxDimension, shape.ToString());
    }
  }
  return shape;
}

Status CheckMultiple(const TensorTable& table, std::string_view tensor, std::string_view what,
                     int64_t size, int64_t factor) {
  if (size % factor == 0) return {};
  return Corruption("{}: tensor '{}': expected {} to be a multiple of {}, found {}", table.source(),
                    tensor, what, factor, size);
}

Result<int> GetNumBlocks(const TensorTable& table, std::string_view prefix,
                         std::string_view suffix) {
  const int count = table.CountBlocks(prefix, suffix);
  const std::string_view behind = FindBlockBehind(table, std::string(prefix) + ".", count);
  if (count == 0 || !behind.empty()) {
    return Corruption("{}: expected tensor '{}.{}.{}', found {}", table.source(), prefix, count,
                      suffix, behind.empty() ? "none" : fmt::format("'{}' without it", behind));
  }
  if (count > kMaxBlocks) {
    return Corruption("{}: expected at most {} blocks '{}', found {}", table.source(), kMaxBlocks,
                      prefix, count);
  }
  return count;
}

bool HasPrefix(const TensorTable& table, std::string_view prefix) {
  const auto it = table.tensors().lower_bound(prefix);
  return it != table.tensors().end() && it->first.starts_with(prefix);
}

}  // namespace ingot
