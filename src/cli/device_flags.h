// Flags of `run`, `plan` and `serve` that say where jobs compute.
#pragma once

#include <optional>
#include <string>

#include "base/status.h"
#include "engine/engine.h"

namespace ingot {

// As they were typed; empty or unset: not given.
struct DeviceFlags {
  std::string device;          // "cpu", "cuda", "sim"
  std::string vram;            // "4GiB"
  std::optional<double> link;  // GB/s of the simulated device
};

// kInvalidArgument names the flag.
Result<DeviceOptions> ParseDevice(const DeviceFlags& flags);

}  // namespace ingot
