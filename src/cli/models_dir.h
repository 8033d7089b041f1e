// Which models folder a command uses.
#pragma once

#include <filesystem>
#include <string>

namespace ingot {

// `given`; else ./models; else the demo models: installed beside the binary
// (../share/ingot/models), or those of the source tree it was built in.
std::filesystem::path ModelsDir(const std::string& given);

}  // namespace ingot
