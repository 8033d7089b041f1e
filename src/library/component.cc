#include "library/component.h"

#include <sys/stat.h>

#include <array>

#include "models/clip/names.h"
#include "models/flux/names.h"
#include "models/t5/names.h"
#include "models/vae/names.h"

namespace ingot {
namespace {

std::string Summarize(const flux::FluxConfig& c) {
  return fmt::format("{}, {} double + {} single blocks, hidden {}, {} heads",
                     c.guidance_embed ? "guidance-distilled (dev)" : "no guidance input (schnell)",
                     c.depth, c.depth_single_blocks, c.hidden_size, c.num_heads);
}
std::string Summarize(const clip::ClipConfig& c) {
  return fmt::format("{} layers, hidden {}, vocabulary {}", c.num_hidden_layers, c.hidden_size,
                     c.vocab_size);
}
std::string Summarize(const t5::T5Config& c) {
  return fmt::format("{} layers, hidden {}, vocabulary {}", c.num_layers, c.d_model, c.vocab_size);
}
std::string Summarize(const vae::VaeConfig& c) {
  return fmt::format("{} latent channels, {} times smaller, channels {} to {}", c.z_channels,
                     c.scale(), c.block_out_channels.front(), c.block_out_channels.back());
}

// How one kind is found: the reference's name of a tensor, whether the tensors
// so named are this network, and its sizes.
struct Recognizer {
  ComponentKind kind;
  CanonicalName canonical_name;
  bool (*looks_like)(const TensorTable&);
  Result<decltype(Component::config)> (*read_config)(const TensorTable&);
};

template <auto ReadConfig>
Result<decltype(Component::config)> AsVariant(const TensorTable& table) {
  INGOT_ASSIGN_OR_RETURN(auto config, ReadConfig(table));
  return decltype(Component::config)(std::move(config));
}

const std::array<Recognizer, 4>& Recognizers() {
  static const std::array<Recognizer, 4> kRecognizers = {{
      {ComponentKind::kFlux, flux::CanonicalFluxName, flux::LooksLikeFlux,
       AsVariant<flux::FluxConfigFromTensors>},
      {ComponentKind::kClip, clip::CanonicalClipName, clip::LooksLikeClip,
       AsVariant<clip::ClipConfigFromTensors>},
      {ComponentKind::kT5, t5::CanonicalT5Name, t5::LooksLikeT5,
       AsVariant<t5::T5ConfigFromTensors>},
      {ComponentKind::kVae, vae::CanonicalVaeName, vae::LooksLikeVae,
       AsVariant<vae::VaeConfigFromTensors>},
  }};
  return kRecognizers;
}

}  // namespace

std::string_view Describe(ComponentKind kind) {
  constexpr std::array<std::string_view, 4> kNames = {"Flux transformer", "CLIP-L text encoder",
                                                      "T5 text encoder", "VAE"};
  return kNames[static_cast<size_t>(kind)];
}

std::string Component::Summary() const {
  return std::visit([](const auto& c) { return Summarize(c); }, config);
}

Result<ModelFile> OpenModelFile(const std::filesystem::path& path) {
  INGOT_ASSIGN_OR_RETURN(TensorFile opened, OpenTensorFile(path));
  ModelFile model{std::make_shared<const TensorFile>(std::move(opened)), {}};
  for (const Recognizer& recognizer : Recognizers()) {
    ComponentTensors tensors = NameTensors(model.file, recognizer.canonical_name);
    const TensorTable table = tensors.Table();
    if (!recognizer.looks_like(table)) continue;
    INGOT_ASSIGN_OR_RETURN(auto config, recognizer.read_config(table));
    model.components.push_back({recognizer.kind, std::move(tensors), std::move(config)});
  }
  return model;
}

std::string FileVersion(const std::filesystem::path& path) {
  struct stat info = {};
  if (::stat(path.c_str(), &info) != 0) return {};
  return fmt::format("{:x}-{:x}-{:x}-{:x}.{:x}", info.st_dev, info.st_ino, info.st_size,
                     info.st_mtim.tv_sec, info.st_mtim.tv_nsec);
}

Result<ModelFile> OpenModelFiles::Open(const std::filesystem::path& path) {
  const std::string version = FileVersion(path);
  const auto known = opened_.find(path);
  if (known != opened_.end() && known->second.version == version) return known->second.model;
  if (known != opened_.end()) opened_.erase(known);
  INGOT_ASSIGN_OR_RETURN(ModelFile model, OpenModelFile(path));
  if (opened_.size() >= most_files_) opened_.clear();
  opened_.emplace(path, Opened{version, model});
  return model;
}

Result<ModelFile> OpenModelFile(const std::filesystem::path& path, OpenModelFiles* files) {
  return files != nullptr ? files->Open(path) : OpenModelFile(path);
}

}  // namespace ingot
