#include <cstdio>
#include <cstdlib>

#include "cuda_gpu.h"
#include "devices/cuda/cuda_device.h"
#include "devices/cuda/runtime.h"

namespace ingot::conformance {

std::string Name(GpuModel) { return "Card"; }
std::vector<GpuModel> GpuModels() { return {GpuModel::kHopper}; }
std::vector<GpuModel> GpuModelsByF8(bool multiply_f8) {
  const Result<int> capability = cuda::ReadComputeCapability();
  if (!capability.ok() || cuda::MultipliesF8(*capability) != multiply_f8) return {};
  return {GpuModel::kHopper};
}

// A card keeps its own order.
Device& OpenGpu(GpuModel, GpuOrder) {
  static const std::unique_ptr<Device> device = [] {
    Result<std::unique_ptr<Device>> opened = OpenCudaDevice({});
    if (!opened.ok()) {
      std::fprintf(stderr, "%s\n", opened.status().message().c_str());
      std::exit(EXIT_FAILURE);
    }
    return *std::move(opened);
  }();
  return *device;
}

}  // namespace ingot::conformance
