// The files of the models folder as clients of Forge name them.
#pragma once

#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "jobs/job_service.h"

namespace ingot::server {

enum class ModelKind : uint8_t { kDiffusion, kClip, kT5, kVae };

struct ModelFileInfo {
  std::string path;        // absolute or as the worker gave it
  std::string name;        // below its folder, with extension: "flux/dev.gguf"
  std::string model_name;  // "flux_dev"
  std::string title;       // name, and " [hash10]" where the hash is known
  std::string sha256;      // empty: not known
  std::vector<ModelKind> kinds;

  bool Holds(ModelKind kind) const;
};

// Of a file of the worker's list.
ModelFileInfo FileInfoOf(const Json& file, const std::string& models_dir);

// Asks the worker for the list and keeps it. Thread-safe.
class ModelCatalog {
 public:
  ModelCatalog(JobService& jobs, std::string models_dir)
      : jobs_(jobs), models_dir_(std::move(models_dir)) {}

  Result<std::vector<ModelFileInfo>> List();
  Status Refresh() { return Load().status(); }
  void Forget();  // List asks again

  // Title, title without hash, name, model_name, file name, stem, path of the list, short or full
  // SHA-256, in any case. A name that is not known is looked for once more on the disk; kNotFound
  // lists what is there. `field` stands in errors.
  Result<ModelFileInfo> Find(std::string_view name, std::string_view field, ModelKind kind);
  // A file of any kind (Forge's additional modules); of a path its last part counts.
  Result<ModelFileInfo> FindModule(std::string_view name, std::string_view field);

 private:
  Result<std::vector<ModelFileInfo>> Load();
  Result<ModelFileInfo> FindOf(std::string_view name, std::string_view field,
                               std::optional<ModelKind> kind);

  JobService& jobs_;
  const std::string models_dir_;
  std::mutex mutex_;
  std::optional<std::vector<ModelFileInfo>> files_;
};

}  // namespace ingot::server
