// An NVIDIA GPU as a device: arenas in its memory, ops and copies on streams of their own.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "base/status.h"
#include "devices/copy_engine.h"
#include "devices/device.h"

namespace ingot {

struct CudaOptions {
  // Of device memory that arenas and the context may take; 0: what the driver has free, read live.
  int64_t vram_bytes = 0;
  // For plans alone. With vram_bytes no GPU need be there, nor a driver.
  bool plans_only = false;
  // Of CopyEngine, until Start measures it: as an earlier process did. By default a guess for a GPU
  // that nobody has measured; not less, as a plan that was made with it is to hold.
  FixedBytes fixed = {.device = 512 << 20, .host = 256 << 20};
  // Of CopyEngine: for a screen and a browser, and for what the driver cannot give in one piece.
  int64_t reserve_bytes = 256 << 20;
};

// The GPU that OpenCudaDevice would take and its driver, by name and version: all that the fixed
// bytes depend on. Empty where there is none.
std::string CudaGpuName();

// The device has a copy engine, and returns from Run before an op has run; it runs at most a few
// ops behind, so that a cancelled job ends soon. kUnavailable when this build has no CUDA, the
// machine no driver, or it has no GPU: the message says which. Of several GPUs the first is taken
// that CUDA_VISIBLE_DEVICES leaves.
//
// An op's result is a function of its operands and the GPU's architecture (promise P5).
Result<std::unique_ptr<Device>> OpenCudaDevice(const CudaOptions& options);

}  // namespace ingot
