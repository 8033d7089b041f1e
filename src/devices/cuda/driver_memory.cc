#include "devices/cuda/driver_memory.h"

#include <dlfcn.h>

#include <cuda_runtime.h>

namespace ingot::cuda {
namespace {

// Of libnvidia-ml, which comes with the driver: nothing links it, so that Ingot starts without, and
// the toolkit need not have its header. Signatures as in nvml.h, whose ABI is kept.
using NvmlDevice = void*;
struct NvmlMemory {
  unsigned long long total, free, used;
};
constexpr int kNvmlSuccess = 0;

struct Nvml {
  int (*init)() = nullptr;
  int (*device_by_bus)(const char* bus, NvmlDevice* device) = nullptr;
  int (*memory_info)(NvmlDevice device, NvmlMemory* memory) = nullptr;
  bool is_there = false;

  Nvml() {
    void* const library = ::dlopen("libnvidia-ml.so.1", RTLD_NOW | RTLD_LOCAL);
    if (library == nullptr) return;
    const auto find = [&]<class F>(F& function, const char* name) {
      function = reinterpret_cast<F>(::dlsym(library, name));
      return function != nullptr;
    };
    is_there = find(init, "nvmlInit_v2") &&
               find(device_by_bus, "nvmlDeviceGetHandleByPciBusId_v2") &&
               find(memory_info, "nvmlDeviceGetMemoryInfo") && init() == kNvmlSuccess;
  }
};

}  // namespace

Result<int64_t> ReadFreeBytes() {
  static const Nvml nvml;
  char bus[64];
  NvmlDevice device = nullptr;
  NvmlMemory memory = {};
  if (!nvml.is_there || cudaDeviceGetPCIBusId(bus, sizeof bus, 0) != cudaSuccess ||
      nvml.device_by_bus(bus, &device) != kNvmlSuccess ||
      nvml.memory_info(device, &memory) != kNvmlSuccess) {
    return Unavailable("cuda: expected NVML to tell the memory of GPU 0, found that it does not");
  }
  return static_cast<int64_t>(memory.free);
}

}  // namespace ingot::cuda
