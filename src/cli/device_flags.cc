#include "cli/device_flags.h"

#include "base/byte_size.h"

namespace ingot {

Result<std::optional<SimOptions>> ParseDevice(const DeviceFlags& flags) {
  if (flags.device != "sim") {
    if (flags.device != "cpu" && !flags.device.empty()) {
      return InvalidArgument("--device: expected cpu or sim, found '{}'", flags.device);
    }
    for (const auto& [name, is_given] :
         {std::pair("--vram", !flags.vram.empty()), std::pair("--link", flags.link.has_value())}) {
      if (is_given) return InvalidArgument("{}: expected with --device sim, found without", name);
    }
    return std::optional<SimOptions>();
  }
  SimOptions sim{.vram_bytes = int64_t{8} << 30};
  if (!flags.vram.empty()) {
    INGOT_ASSIGN_OR_RETURN(sim.vram_bytes, ParseByteSize(flags.vram));
  }
  if (flags.link) sim.link_bytes_per_s = *flags.link * 1e9;
  if (!(sim.link_bytes_per_s > 0)) {
    return InvalidArgument("--link: expected GB/s above 0, found {}", *flags.link);
  }
  return std::optional(sim);
}

}  // namespace ingot
