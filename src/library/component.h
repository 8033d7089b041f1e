// What a model file holds, found by its tensors and never by its name.
#pragma once

#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "base/status.h"
#include "formats/component_tensors.h"
#include "models/clip/clip.h"
#include "models/flux/config.h"
#include "models/t5/t5.h"
#include "models/vae/vae.h"

namespace ingot {

enum class ComponentKind : uint8_t { kFlux, kClip, kT5, kVae };

// "Flux transformer", "CLIP-L text encoder", …: in messages.
std::string_view Describe(ComponentKind kind);

// One network of a file, sizes read and found sound.
struct Component {
  ComponentKind kind;
  ComponentTensors tensors;
  std::variant<flux::FluxConfig, clip::ClipConfig, t5::T5Config, vae::VaeConfig> config;

  const std::string& path() const { return tensors.path(); }
  template <typename T>
  const T& As() const {
    return std::get<T>(config);
  }
  // Short facts: "guidance-distilled (dev), 19 + 38 blocks, hidden 3072".
  std::string Summary() const;
};

// One model file: its components, or why it is of no use.
struct ModelFile {
  std::shared_ptr<const TensorFile> file;
  std::vector<Component> components;  // none: sound, but holds nothing Ingot knows
};

// kCorruption or kUnsupported when the file or a component in it cannot be used.
Result<ModelFile> OpenModelFile(const std::filesystem::path& path);

// Device, inode, size and time of change of what is under the name now; empty: nothing is.
std::string FileVersion(const std::filesystem::path& path);

// Files that stay open from one job or question to the next, as long as they are what they were:
// device, inode, size and time of change. Not thread-safe.
class OpenModelFiles {
 public:
  // Never more than so many, each a descriptor and its header.
  explicit OpenModelFiles(size_t most_files) : most_files_(most_files) {}

  // OpenModelFile; a file that is of no use is looked at anew each time.
  Result<ModelFile> Open(const std::filesystem::path& path);

 private:
  struct Opened {
    std::string version;
    ModelFile model;
  };
  size_t most_files_;
  std::map<std::filesystem::path, Opened> opened_;
};

// Of `files`, if there are some.
Result<ModelFile> OpenModelFile(const std::filesystem::path& path, OpenModelFiles* files);

}  // namespace ingot
