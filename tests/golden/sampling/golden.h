// Reader of the golden files of this folder.
#pragma once

#include <cmath>
#include <fstream>
#include <string>

#include <nlohmann/json.hpp>

namespace ingot {

// tests/golden/sampling/`name`; a null value, on which every look-up fails, when it cannot be read.
inline nlohmann::json ReadGolden(const std::string& name) {
  std::ifstream file(INGOT_SOURCE_DIR "/tests/golden/sampling/" + name);
  return nlohmann::json::parse(file, nullptr, /*allow_exceptions=*/false);
}

// Largest difference over the largest value expected; infinite where the sizes differ.
inline double RelativeError(const std::vector<float>& found, const std::vector<double>& expected) {
  if (found.size() != expected.size()) return INFINITY;
  double difference = 0, greatest = 0;
  for (size_t i = 0; i < found.size(); ++i) {
    const double at_i = std::abs(found[i] - expected[i]);
    if (!(at_i <= difference)) difference = at_i;  // a NaN stays
    greatest = std::max(greatest, std::abs(expected[i]));
  }
  return difference / greatest;
}

}  // namespace ingot
