#include "base/byte_size.h"

#include <array>
#include <charconv>
#include <cmath>

namespace ingot {
namespace {

struct Unit {
  std::string_view name;
  double num_bytes;
};
constexpr std::array<Unit, 7> kUnits = {{{"KiB", 1024.0},
                                         {"MiB", 1048576.0},
                                         {"GiB", 1073741824.0},
                                         {"KB", 1e3},
                                         {"MB", 1e6},
                                         {"GB", 1e9},
                                         {"B", 1.0}}};

}  // namespace

Result<int64_t> ParseByteSize(std::string_view text) {
  double number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  const std::string_view suffix = text.substr(static_cast<size_t>(end - text.data()));
  if (error == std::errc() && std::isfinite(number) && number >= 0) {
    for (const Unit& unit : kUnits) {
      if (suffix == unit.name && number * unit.num_bytes < 9e18) {
        return static_cast<int64_t>(number * unit.num_bytes);
      }
    }
  }
  return InvalidArgument(
      "size: expected a number with a unit such as 512MiB, 2GiB or 500MB, "
      "found '{}'",
      text);
}

std::string FormatByteSize(int64_t num_bytes) {
  constexpr std::array<const char*, 5> kNames = {"B", "KiB", "MiB", "GiB", "TiB"};
  auto number = static_cast<double>(num_bytes);
  size_t unit = 0;
  for (; number >= 1000.0 && unit + 1 < kNames.size(); ++unit) number /= 1024.0;
  if (unit == 0 || number >= 99.95) return fmt::format("{:.0f} {}", number, kNames[unit]);
  return fmt::format("{:.{}f} {}", number, number >= 9.995 ? 1 : 2, kNames[unit]);
}

}  // namespace ingot
