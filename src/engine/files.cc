#include "engine/files.h"

#include <array>
#include <cstdlib>

#include "formats/tensor_writer.h"
#include "tensor/codec.h"

namespace ingot {
namespace {

// gguf.constants.LlamaFileType: what general.file_type says for each type.
uint32_t FileType(DType type) {
  switch (type) {
    case DType::kF32:
      return 0;
    case DType::kF16:
      return 1;
    case DType::kQ4_0:
      return 2;
    case DType::kQ4_1:
      return 3;
    case DType::kQ8_0:
      return 7;
    case DType::kQ5_0:
      return 8;
    case DType::kQ5_1:
      return 9;
    case DType::kBF16:
      return 32;
    default:
      INGOT_CHECK(false);
  }
}

bool IsFluxProjection(std::string_view name) {
  constexpr std::array<std::string_view, 6> kPrefixes = {
      "img_in.", "txt_in.", "time_in.", "vector_in.", "guidance_in.", "final_layer."};
  for (std::string_view prefix : kPrefixes) {
    if (name.find(prefix) != std::string_view::npos) return true;
  }
  return false;
}

// The type of a tensor in the new file. GGUF has no F8 and no 5 dimensions;
// safetensors' types outside GGUF become F32 unless they are quantized.
DType TargetType(const TensorEntry& entry, DType type) {
  const bool in_gguf = entry.dtype != DType::kF8E4M3 && entry.dtype != DType::kF8E5M2 &&
                       entry.dtype != DType::kU8 && entry.scale == 1.0f;
  const DType kept = in_gguf ? entry.dtype : DType::kF32;
  if (entry.shape.rank() != 2 || entry.dtype == DType::kI64 || entry.dtype == DType::kI32) {
    return kept;
  }
  if (IsBlockFormat(type) &&
      (IsFluxProjection(entry.name) || entry.shape.back() % Info(type).block_elements != 0)) {
    return kept;
  }
  return type;
}

// A tensor's bytes in another type.
Result<std::vector<std::byte>> Convert(const TensorFile& file, const TensorEntry& entry,
                                       DType target) {
  std::vector<std::byte> bytes(static_cast<size_t>(entry.num_bytes));
  INGOT_RETURN_IF_ERROR(file.ReadTensor(entry, bytes));
  if (target == entry.dtype) return bytes;
  const int64_t num_elements = entry.shape.num_elements();
  std::vector<float> values(static_cast<size_t>(num_elements));
  DequantizeRow(entry.dtype, bytes.data(), values.data(), num_elements);
  for (float& value : values) {
    value *= entry.scale;
    if (!(value - value == 0.0f)) {
      return NotFinite("{}: tensor '{}': expected finite numbers, found NaN or Inf", file.path(),
                       entry.name);
    }
  }
  bytes.resize(static_cast<size_t>(NumBytes(target, entry.shape)));
  QuantizeRow(target, values.data(), bytes.data(), num_elements);
  return bytes;
}

// GGUF needs an architecture; a Flux file without metadata is given it.
Result<Metadata> OutputMetadata(const std::filesystem::path& in, const TensorFile& file,
                                DType type) {
  Metadata metadata;
  if (file.kind().starts_with("GGUF")) {
    metadata = file.metadata();
  } else {
    INGOT_ASSIGN_OR_RETURN(const ModelFile model, OpenModelFile(in));
    const char* architecture = "unknown";
    for (const Component& component : model.components) {
      if (component.kind == ComponentKind::kFlux) architecture = "flux";
      if (component.kind == ComponentKind::kT5) architecture = "t5encoder";
    }
    metadata.Set("general.architecture", std::string(architecture));
  }
  metadata.Set("general.quantization_version", uint32_t{2});
  metadata.Set("general.file_type", FileType(type));
  return metadata;
}

std::filesystem::path CacheFolder() {
  namespace fs = std::filesystem;
  const char* cache = std::getenv("XDG_CACHE_HOME");
  const char* home = std::getenv("HOME");
  const fs::path base = cache != nullptr && *cache != 0 ? fs::path(cache)
                        : home != nullptr && *home != 0 ? fs::path(home) / ".cache"
                                                        : fs::temp_directory_path();
  return base / "ingot";
}

}  // namespace

std::filesystem::path HashFolder() { return CacheFolder() / "sha256"; }

std::filesystem::path RatesFolder() { return CacheFolder() / "rates"; }

std::map<std::string, TypeTotal> TotalsByType(const TensorFile& file) {
  std::map<std::string, TypeTotal> totals;
  for (const TensorEntry& entry : file.entries()) {
    TypeTotal& total = totals[std::string(Name(entry.dtype))];
    ++total.num_tensors;
    total.num_elements += entry.shape.num_elements();
    total.num_bytes += entry.num_bytes;
  }
  return totals;
}

Status QuantizeFile(const std::filesystem::path& in, const std::filesystem::path& out, DType type,
                    const std::function<void(const QuantizeProgress&)>& progress,
                    std::stop_token stop) {
  if (!CanQuantize(type)) {
    return InvalidArgument("type: expected F16, BF16, Q4_0, Q4_1, Q5_0, Q5_1 or Q8_0, found {}",
                           Name(type));
  }
  INGOT_ASSIGN_OR_RETURN(const TensorFile file, OpenTensorFile(in));
  INGOT_ASSIGN_OR_RETURN(const Metadata metadata, OutputMetadata(in, file, type));
  std::vector<TensorSpec> specs;
  QuantizeProgress state;
  for (const TensorEntry& entry : file.entries()) {
    specs.push_back({entry.name, TargetType(entry, type), entry.shape});
    state.total_bytes += entry.num_bytes;
  }
  INGOT_ASSIGN_OR_RETURN(const std::unique_ptr<TensorWriter> writer,
                         TensorWriter::CreateGguf(out, metadata, specs));
  for (size_t i = 0; i < specs.size(); ++i) {
    if (stop.stop_requested()) return Cancelled("cancelled by the caller");
    INGOT_ASSIGN_OR_RETURN(const std::vector<std::byte> bytes,
                           Convert(file, file.entries()[i], specs[i].dtype));
    INGOT_RETURN_IF_ERROR(writer->Append(bytes));
    state.done_bytes += file.entries()[i].num_bytes;
    if (progress) progress(state);
  }
  return writer->Commit();
}

}  // namespace ingot
