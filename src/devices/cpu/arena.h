// Arenas of a CPU device: anonymous pages, taken from the system at once.
#pragma once

#include <cstdint>
#include <memory>
#include <stop_token>

#include "base/status.h"
#include "devices/device.h"

namespace ingot::cpu {

// Page-aligned, zeroed. kUnavailable when the system refuses the memory.
Result<std::unique_ptr<Arena>> AllocateArena(int64_t num_bytes, std::stop_token stop);

}  // namespace ingot::cpu
