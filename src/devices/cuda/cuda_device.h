// An NVIDIA GPU as a device: arenas in its memory, ops and copies on streams of their own.
#pragma once

#include <cstdint>
#include <memory>

#include "base/status.h"
#include "devices/device.h"

namespace ingot {

struct CudaOptions {
  // Of device memory that arenas and the context may take; 0: what the driver has free, read live.
  int64_t vram_bytes = 0;
  // For plans alone. With vram_bytes no GPU need be there, nor a driver.
  bool plans_only = false;
};

// The device has a copy engine, and returns from Run before an op has run; it runs at most a few
// ops behind, so that a cancelled job ends soon. kUnavailable when this build has no CUDA, the
// machine no driver, or it has no GPU: the message says which. Of several GPUs the first is taken
// that CUDA_VISIBLE_DEVICES leaves.
//
// An op's result is a function of its operands and the GPU's architecture (promise P5).
Result<std::unique_ptr<Device>> OpenCudaDevice(const CudaOptions& options);

}  // namespace ingot
