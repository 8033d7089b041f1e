#include "cli/models_dir.h"

namespace ingot {

std::filesystem::path ModelsDir(const std::string& given) {
  namespace fs = std::filesystem;
  if (!given.empty()) return given;
  std::error_code ignored;
  if (fs::is_directory("models", ignored)) return "models";
  const fs::path binary = fs::read_symlink("/proc/self/exe", ignored);
  const fs::path installed = binary.parent_path().parent_path() / "share/ingot/models";
  if (fs::is_directory(installed, ignored)) return installed;
  // build/ingot -> demo/models
  return binary.parent_path().parent_path() / "demo/models";
}

}  // namespace ingot
