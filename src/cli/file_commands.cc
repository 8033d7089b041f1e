// `ingot inspect`, `ingot models` and `ingot quantize`.
#include <cstdio>

#include "base/byte_size.h"
#include "cli/commands.h"
#include "cli/json.h"
#include "cli/models_dir.h"
#include "cli/progress_bar.h"
#include "engine/questions.h"

namespace ingot {
namespace {

void PrintInspection(const ModelFile& model) {
  const TensorFile& file = *model.file;
  std::printf("%s: %s, %s\n", file.path().c_str(), file.kind().c_str(),
              FormatByteSize(static_cast<int64_t>(file.file().size_bytes())).c_str());
  if (const std::string* architecture = file.metadata().FindString("general.architecture")) {
    std::printf("architecture: %s\n", architecture->c_str());
  }
  for (const Component& component : model.components) {
    std::printf("component: %s: %s\n", std::string(Describe(component.kind)).c_str(),
                component.Summary().c_str());
  }
  if (model.components.empty()) std::printf("component: none that Ingot knows\n");
  std::printf("\n%-8s %8s %16s %12s\n", "type", "tensors", "elements", "size");
  for (const auto& [name, total] : TotalsByType(file)) {
    std::printf("%-8s %8lld %16lld %12s\n", name.c_str(), static_cast<long long>(total.num_tensors),
                static_cast<long long>(total.num_elements),
                FormatByteSize(total.num_bytes).c_str());
  }
  std::printf("\n");
  for (const TensorEntry& entry : file.entries()) {
    std::printf("%-8s %-20s %s\n", std::string(Name(entry.dtype)).c_str(),
                entry.shape.ToString().c_str(), entry.name.c_str());
  }
}

}  // namespace

Status InspectCommand(const std::string& path, bool json) {
  INGOT_ASSIGN_OR_RETURN(const ModelFile model, OpenModelFile(path));
  if (json) {
    PrintJson(Inspection(model));
  } else {
    PrintInspection(model);
  }
  return {};
}

Status ModelsCommand(const std::string& models_dir, bool json) {
  const std::filesystem::path dir = ModelsDir(models_dir);
  INGOT_ASSIGN_OR_RETURN(const std::vector<LibraryEntry> entries, ScanModels(dir));
  Json files = Json::array();
  for (const LibraryEntry& entry : entries) {
    if (entry.model.ok()) {
      files.push_back({{"path", entry.path.string()}, {"components", Components(*entry.model)}});
    } else {
      files.push_back({{"path", entry.path.string()}, {"error", entry.model.status().message()}});
    }
    if (json) continue;
    std::printf("%s\n", entry.path.lexically_relative(dir).c_str());
    if (!entry.model.ok()) std::printf("  unusable: %s\n", entry.model.status().message().c_str());
    if (entry.model.ok() && entry.model->components.empty()) {
      std::printf("  holds nothing that Ingot knows\n");
    }
    for (size_t i = 0; entry.model.ok() && i < entry.model->components.size(); ++i) {
      const Component& component = entry.model->components[i];
      std::printf("  %s: %s, %s\n", std::string(Describe(component.kind)).c_str(),
                  component.Summary().c_str(),
                  FormatByteSize(component.tensors.num_bytes()).c_str());
    }
  }
  const Result<ModelSet> set = ResolveModels({.models_dir = dir});
  if (json) {
    PrintJson({{"models_dir", dir.string()},
               {"files", files},
               {"complete", set.ok()},
               {"missing", set.ok() ? Json(nullptr) : Json(set.status().message())}});
  } else if (set.ok()) {
    std::printf("\ncomplete set: %s with %s, %s, %s\n", set->flux.path().c_str(),
                set->clip.path().c_str(), set->t5.path().c_str(), set->vae.path().c_str());
  } else {
    std::printf("\nno complete set: %s\n", set.status().message().c_str());
  }
  return {};
}

Status QuantizeCommand(const std::string& in, const std::string& out, const std::string& type,
                       std::stop_token stop) {
  const std::optional<DType> dtype = FindDType(type);
  if (!dtype) {
    return InvalidArgument("--type: expected F16, BF16, Q4_0, Q4_1, Q5_0, Q5_1 or Q8_0, found '{}'",
                           type);
  }
  ProgressBar bar;
  return QuantizeFile(
      in, out, *dtype,
      [&](const QuantizeProgress& p) {
        bar.Show("quantize", static_cast<double>(p.done_bytes), static_cast<double>(p.total_bytes));
      },
      stop);
}

}  // namespace ingot
