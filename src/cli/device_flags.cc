#include "cli/device_flags.h"

#include "base/byte_size.h"

namespace ingot {

Result<DeviceOptions> ParseDevice(const DeviceFlags& flags) {
  const bool is_cuda = flags.device == "cuda", is_sim = flags.device == "sim";
  if (!is_cuda && !is_sim && flags.device != "cpu" && !flags.device.empty()) {
    return InvalidArgument("--device: expected cpu, cuda or sim, found '{}'", flags.device);
  }
  if (!flags.vram.empty() && !is_cuda && !is_sim) {
    return InvalidArgument("--vram: expected with --device cuda or sim, found without");
  }
  if (flags.link && !is_sim) {
    return InvalidArgument("--link: expected with --device sim, found without");
  }
  int64_t vram_bytes = 0;
  if (!flags.vram.empty()) {
    INGOT_ASSIGN_OR_RETURN(vram_bytes, ParseByteSize(flags.vram));
  }
  if (is_cuda) return DeviceOptions(CudaOptions{.vram_bytes = vram_bytes});
  if (!is_sim) return DeviceOptions();
  SimOptions sim{.vram_bytes = flags.vram.empty() ? int64_t{8} << 30 : vram_bytes};
  if (flags.link) sim.link_bytes_per_s = *flags.link * 1e9;
  if (!(sim.link_bytes_per_s > 0)) {
    return InvalidArgument("--link: expected GB/s above 0, found {}", *flags.link);
  }
  return DeviceOptions(sim);
}

}  // namespace ingot
