// The memory of a GPU as its driver tells it, without a context of this process.
#pragma once

#include <cstdint>

#include "base/status.h"

namespace ingot::cuda {

// Bytes of GPU 0 that no program holds. kUnavailable where the driver's library of management
// (NVML) is not there or does not know.
Result<int64_t> ReadFreeBytes();

}  // namespace ingot::cuda
