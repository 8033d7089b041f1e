#include "library/library.h"

#include <algorithm>
#include <array>
#include <set>

#include <fmt/ranges.h>

namespace ingot {
namespace {

namespace fs = std::filesystem;

bool IsModelFile(const fs::path& path) {
  static const std::set<std::string> kExtensions = {".gguf", ".safetensors", ".sft", ".ckpt",
                                                    ".pt",   ".pth",         ".bin"};
  return kExtensions.contains(path.extension().string());
}

// Whether a component of that kind fits the transformer, and what it must be.
bool Fits(const Component& component, const flux::FluxConfig& flux) {
  switch (component.kind) {
    case ComponentKind::kFlux:
      return false;
    case ComponentKind::kClip:
      return component.As<clip::ClipConfig>().hidden_size == flux.vec_in_dim;
    case ComponentKind::kT5:
      return component.As<t5::T5Config>().d_model == flux.context_in_dim;
    case ComponentKind::kVae:
      return component.As<vae::VaeConfig>().z_channels * 4 == flux.in_channels;
  }
  return false;
}

std::string Requirement(ComponentKind kind, const flux::FluxConfig& flux) {
  switch (kind) {
    case ComponentKind::kClip:
      return fmt::format("hidden size {}", flux.vec_in_dim);
    case ComponentKind::kT5:
      return fmt::format("hidden size {}", flux.context_in_dim);
    default:
      return fmt::format("{} latent channels", flux.in_channels / 4);
  }
}

// Where Forge's users have them and what they are called there.
std::string_view UsualFile(ComponentKind kind) {
  switch (kind) {
    case ComponentKind::kClip:
      return "text_encoder/clip_l.safetensors";
    case ComponentKind::kT5:
      return "text_encoder/t5xxl_*.safetensors or a T5 encoder GGUF";
    case ComponentKind::kVae:
      return "VAE/ae.safetensors";
    case ComponentKind::kFlux:
      return "Stable-diffusion/flux1-*.gguf";
  }
  return {};
}

const Component* FindKind(const ModelFile& model, ComponentKind kind) {
  for (const Component& component : model.components) {
    if (component.kind == kind) return &component;
  }
  return nullptr;
}

bool HasName(const fs::path& path, const fs::path& models_dir, const std::string& name) {
  return path == name || path.filename() == name || path.stem() == name ||
         path.lexically_relative(models_dir) == name ||
         path.lexically_relative(models_dir / "Stable-diffusion") == name;
}

// A file given by a flag: the component must be in it.
Result<Component> OpenExplicit(const fs::path& path, ComponentKind kind, OpenModelFiles* files) {
  INGOT_ASSIGN_OR_RETURN(const ModelFile model, OpenModelFile(path, files));
  if (const Component* component = FindKind(model, kind)) return *component;
  std::vector<std::string_view> found;
  for (const Component& component : model.components) found.push_back(Describe(component.kind));
  return Unsupported("{}: expected a {}, found {}", path.string(), Describe(kind),
                     found.empty() ? "no network that Ingot knows"
                                   : fmt::format("a {}", fmt::join(found, " and a ")));
}

// Scans the folder at most once, and only when a file is not given.
class Candidates {
 public:
  Candidates(fs::path models_dir, OpenModelFiles* files)
      : models_dir_(std::move(models_dir)), files_(files) {}

  Result<const std::vector<LibraryEntry>*> Entries() {
    if (!entries_) {
      INGOT_ASSIGN_OR_RETURN(entries_, ScanModels(models_dir_, files_));
    }
    return &*entries_;
  }
  OpenModelFiles* files() const { return files_; }

 private:
  fs::path models_dir_;
  OpenModelFiles* files_;
  std::optional<std::vector<LibraryEntry>> entries_;
};

Result<Component> FindFlux(const ModelRequest& request, Candidates& candidates) {
  if (request.diffusion)
    return OpenExplicit(*request.diffusion, ComponentKind::kFlux, candidates.files());
  INGOT_ASSIGN_OR_RETURN(const std::vector<LibraryEntry>* entries, candidates.Entries());
  std::vector<const LibraryEntry*> by_stem;
  for (const LibraryEntry& entry : *entries) by_stem.push_back(&entry);
  std::stable_sort(by_stem.begin(), by_stem.end(),
                   [](const auto* a, const auto* b) { return a->path.stem() < b->path.stem(); });
  std::vector<std::string> names;
  for (const LibraryEntry* entry : by_stem) {
    const bool named = request.model && HasName(entry->path, request.models_dir, *request.model);
    if (!entry->model.ok()) {
      if (named) return entry->model.status();
      continue;
    }
    const Component* flux = FindKind(*entry->model, ComponentKind::kFlux);
    if (flux == nullptr) continue;
    names.push_back(entry->path.stem().string());
    if (named || !request.model) return *flux;
  }
  if (request.model) {
    return NotFound("{}: expected a model named '{}', found {}", request.models_dir.string(),
                    *request.model,
                    names.empty() ? "none" : fmt::format("{}", fmt::join(names, ", ")));
  }
  return NotFound("{}: expected a {} (usually {}), found none", request.models_dir.string(),
                  Describe(ComponentKind::kFlux), UsualFile(ComponentKind::kFlux));
}

Result<Component> FindPart(ComponentKind kind, const std::optional<fs::path>& given,
                           const ModelRequest& request, const Component& flux,
                           Candidates& candidates) {
  const auto& config = flux.As<flux::FluxConfig>();
  if (given) {
    INGOT_ASSIGN_OR_RETURN(Component component, OpenExplicit(*given, kind, candidates.files()));
    if (Fits(component, config)) return component;
    return InvalidArgument("{}: expected a {} of {} for {}, found one of {}", given->string(),
                           Describe(kind), Requirement(kind, config), flux.path(),
                           component.Summary());
  }
  INGOT_ASSIGN_OR_RETURN(const ModelFile own, OpenModelFile(flux.path(), candidates.files()));
  if (const Component* component = FindKind(own, kind); component && Fits(*component, config)) {
    return *component;
  }
  INGOT_ASSIGN_OR_RETURN(const std::vector<LibraryEntry>* entries, candidates.Entries());
  std::vector<std::string> unfit;
  for (const LibraryEntry& entry : *entries) {
    if (!entry.model.ok()) continue;
    const Component* component = FindKind(*entry.model, kind);
    if (component == nullptr) continue;
    if (Fits(*component, config)) return *component;
    unfit.push_back(fmt::format("{} ({})", entry.path.string(), component->Summary()));
  }
  return NotFound("{}: expected a {} of {} for {} (usually {}), found {}",
                  request.models_dir.string(), Describe(kind), Requirement(kind, config),
                  flux.path(), UsualFile(kind),
                  unfit.empty() ? "none" : fmt::format("only {}", fmt::join(unfit, ", ")));
}

}  // namespace

Result<std::vector<LibraryEntry>> ScanModels(const fs::path& models_dir, OpenModelFiles* files) {
  std::error_code error;
  if (!fs::is_directory(models_dir, error)) {
    return NotFound("{}: expected a models folder, found none", models_dir.string());
  }
  std::vector<fs::path> paths;
  for (auto it =
           fs::recursive_directory_iterator(models_dir,
                                            fs::directory_options::skip_permission_denied |
                                                fs::directory_options::follow_directory_symlink,
                                            error);
       !error && it != fs::recursive_directory_iterator(); it.increment(error)) {
    std::error_code ignored;
    if (it.depth() > 8) it.disable_recursion_pending();  // a link that leads back up
    if (IsModelFile(it->path()) && it->is_regular_file(ignored)) paths.push_back(it->path());
  }
  if (error) {
    return Unavailable("{}: cannot list the folder: {}", models_dir.string(), error.message());
  }
  std::sort(paths.begin(), paths.end());
  std::vector<LibraryEntry> entries;
  for (const fs::path& path : paths) entries.push_back({path, OpenModelFile(path, files)});
  return entries;
}

Result<ModelSet> ResolveModels(const ModelRequest& request, OpenModelFiles* files) {
  Candidates candidates(request.models_dir, files);
  INGOT_ASSIGN_OR_RETURN(Component flux, FindFlux(request, candidates));
  const auto find = [&](ComponentKind kind, const std::optional<fs::path>& given) {
    return FindPart(kind, given, request, flux, candidates);
  };
  Result<Component> clip = find(ComponentKind::kClip, request.clip);
  Result<Component> t5 = find(ComponentKind::kT5, request.t5);
  Result<Component> vae = find(ComponentKind::kVae, request.vae);
  std::vector<std::string> lacking;
  for (const Result<Component>* part : {&clip, &t5, &vae}) {
    if (part->ok()) continue;
    if (part->status().code() != StatusCode::kNotFound) return part->status();
    lacking.push_back(part->status().message());
  }
  if (!lacking.empty()) return NotFound("{}", fmt::join(lacking, "; "));
  return ModelSet{std::move(flux), *std::move(clip), *std::move(t5), *std::move(vae)};
}

}  // namespace ingot
