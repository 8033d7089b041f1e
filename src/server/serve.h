// Placeholder until the branch `http` is merged.
#pragma once
#include <filesystem>
#include <string>
#include <vector>
namespace ingot::server {
struct ServeOptions {
  std::filesystem::path data_dir, models_dir;
};
}  // namespace ingot::server
