// Reader of the golden files of this folder: gzip, numbers as varints.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace ingot {

// Content of tests/golden/text/`name`, unpacked when it ends in ".gz"; empty when it cannot be
// read.
std::string ReadGolden(const std::string& name);

std::vector<std::string> ReadStrings(const std::string& name);
std::vector<std::vector<int32_t>> ReadIds(const std::string& name);

}  // namespace ingot
