#include "server/model_catalog.h"

#include <algorithm>
#include <array>
#include <filesystem>
#include <utility>

#include "server/http.h"

namespace ingot::server {
namespace {

constexpr std::array<std::pair<std::string_view, ModelKind>, 4> kKinds = {{
    {"Flux transformer", ModelKind::kDiffusion},
    {"CLIP-L text encoder", ModelKind::kClip},
    {"T5 text encoder", ModelKind::kT5},
    {"VAE", ModelKind::kVae},
}};

std::string_view Describe(ModelKind kind) { return kKinds[static_cast<size_t>(kind)].first; }

std::string TextOf(const Json& object, const char* key) {
  const auto found = object.find(key);
  return found != object.end() && found->is_string() ? found->get<std::string>() : std::string();
}

// Below models/Stable-diffusion and its like as Forge shows it; else below the models folder.
std::string NameBelowFolder(const std::filesystem::path& path, const std::string& models_dir) {
  const std::filesystem::path below = path.lexically_relative(models_dir);
  if (below.empty() || *below.begin() == "..") return path.filename().string();
  if (++below.begin() == below.end()) return below.string();
  return below.lexically_relative(*below.begin()).string();
}

std::string WithoutHash(std::string_view title) {
  const size_t open = title.rfind(" [");
  const bool is_hash = open != std::string_view::npos && title.ends_with("]") &&
                       title.find_first_not_of("0123456789abcdef", open + 2) == title.size() - 1;
  return std::string(is_hash ? title.substr(0, open) : title);
}

bool IsNamed(const ModelFileInfo& file, const std::string& name) {
  const std::filesystem::path path(file.path);
  const std::string plain = WithoutHash(name);
  for (const std::string& alias : {file.title, file.name, file.model_name, file.path,
                                   path.filename().string(), path.stem().string()}) {
    if (EqualsIgnoringCase(alias, name) || EqualsIgnoringCase(alias, plain)) return true;
  }
  return !file.sha256.empty() && (name == file.sha256 || name == file.sha256.substr(0, 10));
}

}  // namespace

ModelFileInfo FileInfoOf(const Json& file, const std::string& models_dir) {
  ModelFileInfo info{.path = TextOf(file, "path"), .sha256 = TextOf(file, "sha256")};
  info.name = NameBelowFolder(info.path, models_dir);
  info.model_name = std::filesystem::path(info.name).replace_extension().string();
  std::replace(info.model_name.begin(), info.model_name.end(), '/', '_');
  info.title = info.sha256.empty() ? info.name : info.name + " [" + info.sha256.substr(0, 10) + "]";
  for (const Json& component : file.value("components", Json::array())) {
    const std::string name = TextOf(component, "component");
    for (const auto& [text, kind] : kKinds) {
      if (name == text) info.kinds.push_back(kind);
    }
  }
  return info;
}

bool ModelFileInfo::Holds(ModelKind kind) const {
  return std::find(kinds.begin(), kinds.end(), kind) != kinds.end();
}

Result<std::vector<ModelFileInfo>> ModelCatalog::Load() {
  INGOT_ASSIGN_OR_RETURN(const Json answer, jobs_.Ask("models", Json::object()));
  std::vector<ModelFileInfo> files;
  const Json listed = answer.value("models", Json::array());
  for (const Json& file : listed) {
    if (file.is_object() && !TextOf(file, "path").empty()) {
      files.push_back(FileInfoOf(file, models_dir_));
    }
  }
  // The first is the default: that of ResolveModels (library/library.h), the first by its stem.
  std::ranges::stable_sort(
      files, {}, [](const ModelFileInfo& file) { return std::filesystem::path(file.path).stem(); });
  const std::lock_guard lock(mutex_);
  files_ = files;
  return files;
}

void ModelCatalog::Forget() {
  const std::lock_guard lock(mutex_);
  files_.reset();
}

Result<std::vector<ModelFileInfo>> ModelCatalog::List() {
  {
    const std::lock_guard lock(mutex_);
    if (files_) return *files_;
  }
  return Load();
}

Result<ModelFileInfo> ModelCatalog::Find(std::string_view name, std::string_view field,
                                         ModelKind kind) {
  return FindOf(name, field, kind);
}

Result<ModelFileInfo> ModelCatalog::FindModule(std::string_view name, std::string_view field) {
  return FindOf(name.substr(name.find_last_of("/\\") + 1), field, std::nullopt);
}

Result<ModelFileInfo> ModelCatalog::FindOf(std::string_view name, std::string_view field,
                                           std::optional<ModelKind> kind) {
  std::string known;
  for (const bool again : {false, true}) {
    if (again) INGOT_RETURN_IF_ERROR(Refresh());
    INGOT_ASSIGN_OR_RETURN(const std::vector<ModelFileInfo> files, List());
    known.clear();
    for (const ModelFileInfo& file : files) {
      if (kind ? !file.Holds(*kind) : file.kinds.empty()) continue;
      if (IsNamed(file, std::string(name))) return file;
      known += (known.empty() ? "" : ", ") + file.title;
    }
  }
  return NotFound("{}: expected {} of the models folder ({}), found '{}'", field,
                  kind ? Describe(*kind) : "a file", known.empty() ? "none is there" : known,
                  name.substr(0, 200));
}

}  // namespace ingot::server
