#include "devices/cuda/cuda_device.h"

namespace ingot {

Result<std::unique_ptr<Device>> OpenCudaDevice(const CudaOptions&) {
  return Unavailable("cuda: expected a build with CUDA (-DINGOT_CUDA=ON), found one without");
}

std::string CudaGpuName() { return {}; }

}  // namespace ingot
