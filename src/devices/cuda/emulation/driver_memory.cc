#include "devices/cuda/driver_memory.h"

#include "devices/cuda/emulation/emulation.h"

namespace ingot::cuda {

Result<int64_t> ReadFreeBytes() { return cuda_emulation::FreeBytes(); }

}  // namespace ingot::cuda
