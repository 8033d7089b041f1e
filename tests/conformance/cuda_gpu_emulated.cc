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

std::string Name(GpuModel model) {
  constexpr const char* kNames[] = {"Hopper", "Ampere", "Turing"};
  return kNames[static_cast<size_t>(model)];
}
std::vector<GpuModel> GpuModels() { return {GpuModel::kHopper, GpuModel::kTuring}; }
std::vector<GpuModel> GpuModelsByF8(bool multiply_f8) {
  if (multiply_f8) return {GpuModel::kHopper};
  return {GpuModel::kAmpere, GpuModel::kTuring};
}

Device& OpenGpu(GpuModel model, GpuOrder order) {
  static std::unique_ptr<Device> device;
  device.reset();
  GpuOptions options = OptionsOf(order);
  constexpr int kCapabilities[] = {90, 80, 75};
  options.compute_capability = kCapabilities[static_cast<size_t>(model)];
  cuda_emulation::ResetGpu(options);
  Result<std::unique_ptr<Device>> opened = OpenCudaDevice({});
  INGOT_CHECK(opened.ok());
  device = *std::move(opened);
  return *device;
}

}  // namespace ingot::conformance
