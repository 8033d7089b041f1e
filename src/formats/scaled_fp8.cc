#include "formats/scaled_fp8.h"

#include <array>
#include <cmath>
#include <optional>

#include "formats/names.h"

namespace ingot {
namespace {

constexpr std::array<std::string_view, 2> kScaleSuffixes = {".scale_weight", ".weight_scale"};
constexpr std::array<std::string_view, 3> kUnusedSuffixes = {".scale_input", ".input_scale",
                                                             ".comfy_quant"};

bool IsF8(DType dtype) { return dtype == DType::kF8E4M3 || dtype == DType::kF8E5M2; }

// The weight that a tensor of this name would describe; null when the name has
// not the suffix or there is no such weight.
const TensorEntry* FindWeight(const TensorFile& file, std::string_view name,
                              std::string_view suffix) {
  if (!name.ends_with(suffix)) return nullptr;
  name.remove_suffix(suffix.size());
  return file.Find(std::string(name) + ".weight");
}

bool IsMarker(std::string_view name) {
  return name == "scaled_fp8" || name.ends_with(".scaled_fp8");
}

Status CheckF8(const TensorFile& file, const TensorEntry& entry, const TensorEntry& weight) {
  if (IsF8(weight.dtype)) return {};
  return Unsupported("{}: tensor {}: expected it beside an F8 weight, found {}", file.path(),
                     Quoted(entry.name), Name(weight.dtype));
}

Result<float> ReadScale(const TensorFile& file, const TensorEntry& entry) {
  if (entry.dtype != DType::kF32 || entry.num_bytes != sizeof(float)) {
    return Unsupported(
        "{}: tensor {}: expected one F32 factor, found {} {}: per-row and per-block scales are not "
        "read",
        file.path(), Quoted(entry.name), Name(entry.dtype), entry.shape.ToString());
  }
  float scale;
  INGOT_RETURN_IF_ERROR(file.ReadTensor(entry, std::as_writable_bytes(std::span(&scale, 1))));
  if (!std::isfinite(scale) || scale <= 0) {
    return Corruption("{}: tensor {}: expected a finite positive factor, found {}", file.path(),
                      Quoted(entry.name), scale);
  }
  return scale;
}

// True when `entry` only describes another tensor; its factor, if it is one,
// goes to `scales`.
Result<bool> Fold(const TensorFile& file, const TensorEntry& entry,
                  std::unordered_map<std::string, float>* scales) {
  if (IsMarker(entry.name)) return true;
  for (const std::string_view suffix : kScaleSuffixes) {
    const TensorEntry* weight = FindWeight(file, entry.name, suffix);
    if (weight == nullptr) continue;
    INGOT_RETURN_IF_ERROR(CheckF8(file, entry, *weight));
    INGOT_ASSIGN_OR_RETURN(const float scale, ReadScale(file, entry));
    if (!scales->emplace(weight->name, scale).second) {
      return Corruption("{}: tensor {}: expected one factor of {}, found two", file.path(),
                        Quoted(entry.name), Quoted(weight->name));
    }
    return true;
  }
  for (const std::string_view suffix : kUnusedSuffixes) {
    const TensorEntry* weight = FindWeight(file, entry.name, suffix);
    if (weight == nullptr) continue;
    INGOT_RETURN_IF_ERROR(CheckF8(file, entry, *weight));
    return true;
  }
  return false;
}

}  // namespace

Result<TensorFile> FoldScales(TensorFile file) {
  std::unordered_map<std::string, float> scales;
  std::vector<TensorEntry> kept;
  for (const TensorEntry& entry : file.entries()) {
    INGOT_ASSIGN_OR_RETURN(const bool is_description, Fold(file, entry, &scales));
    if (!is_description) kept.push_back(entry);
  }
  if (kept.size() == file.entries().size()) return file;
  for (TensorEntry& entry : kept) {
    if (const auto scale = scales.find(entry.name); scale != scales.end()) {
      entry.scale = scale->second;
    }
  }
  return std::move(file).WithEntries(std::move(kept));
}

}  // namespace ingot
