// The models folder: which files are there, and complete sets of them.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "base/status.h"
#include "library/component.h"

namespace ingot {

// One file below the folder. `model` holds an error for a file that is damaged
// or of a kind Ingot does not read.
struct LibraryEntry {
  std::filesystem::path path;
  Result<ModelFile> model;
};

// Every *.gguf, *.safetensors, *.sft and refused pickle (*.ckpt, *.pt, *.pth,
// *.bin) below `models_dir`, ordered by path. kNotFound without such a folder.
Result<std::vector<LibraryEntry>> ScanModels(const std::filesystem::path& models_dir,
                                             OpenModelFiles* files = nullptr);

// Which files a job asks for; an unset one is found in the folder.
struct ModelRequest {
  std::filesystem::path models_dir;
  std::optional<std::string> model;  // name of a diffusion file: path, file name or stem
  std::optional<std::filesystem::path> diffusion, clip, t5, vae;
};

// Everything that a Flux picture needs; widths fit together.
struct ModelSet {
  Component flux, clip, t5, vae;
};

// Explicit files first; else the diffusion file of that name, or the first by
// name; else components of its own file, then the first of each kind in the
// folder whose width fits. kNotFound names each missing component, what it must
// fit, and the files that were looked at.
Result<ModelSet> ResolveModels(const ModelRequest& request, OpenModelFiles* files = nullptr);

}  // namespace ingot
