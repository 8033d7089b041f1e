#include "cuda_gpu.h"

#include <gtest/gtest.h>

#include "devices/cuda/cuda_device.h"
#include "devices/cuda/emulation/emulation.h"

namespace ingot::conformance {
namespace {

using cuda_emulation::GpuOptions;
using cuda_emulation::StreamOrder;
using cuda_emulation::ThreadOrder;

GpuOptions OptionsOf(GpuOrder order) {
  switch (order) {
    case GpuOrder::kForward:
      return {.streams = StreamOrder::kLazy, .threads = ThreadOrder::kForward};
    case GpuOrder::kBackward:
      return {.streams = StreamOrder::kEager, .threads = ThreadOrder::kBackward};
    case GpuOrder::kShuffled:
      return {.streams = StreamOrder::kLazy, .threads = ThreadOrder::kShuffled};
  }
  INGOT_CHECK(false);
}

}  // namespace

std::string Name(GpuModel model) { return model == GpuModel::kHopper ? "Hopper" : "Turing"; }
std::vector<GpuModel> GpuModels() { return {GpuModel::kHopper, GpuModel::kTuring}; }

Device& OpenGpu(GpuModel model, GpuOrder order) {
  static std::unique_ptr<Device> device;
  device.reset();
  GpuOptions options = OptionsOf(order);
  options.compute_capability = model == GpuModel::kHopper ? 90 : 75;
  cuda_emulation::ResetGpu(options);
  Result<std::unique_ptr<Device>> opened = OpenCudaDevice({});
  INGOT_CHECK(opened.ok());
  device = *std::move(opened);
  return *device;
}

}  // namespace ingot::conformance
