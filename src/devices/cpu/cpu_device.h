// The processor as a device: arenas in RAM, kernels on a pool of threads.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

#include "base/status.h"
#include "devices/device.h"

namespace ingot {

enum class CpuKernels : uint8_t {
  kFast,
  kReference,  // plain loops in double (devices/cpu/reference): slow, the definition
};

struct CpuOptions {
  size_t num_threads = 1;
  CpuKernels kernels = CpuKernels::kFast;
  // Highest x86 level of the fast kernels, as INGOT_CPU_TARGET names it; empty
  // takes the best of this machine. Levels give the same bits (promise P5).
  std::string target;
};

// kInvalidArgument for a level of no such name or above this machine's;
// kUnavailable when the processor has no AVX2, the least the kernels need.
Result<std::unique_ptr<Device>> OpenCpuDevice(const CpuOptions& options);

}  // namespace ingot
