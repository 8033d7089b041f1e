// The GPU that the tests of the CUDA device run on: the emulated one (cuda_conformance_test), or a
// card (cuda_card_test).
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "devices/device.h"

namespace ingot::conformance {

// In which order an emulated GPU gives turns to the threads of a block and to streams.
enum class GpuOrder : uint8_t {
  kForward,   // streams lazy
  kBackward,  // streams eager
  kShuffled,  // streams lazy
};

// Which GPU an emulated one is.
enum class GpuModel : uint8_t {
  kHopper,  // compute capability 9.0: products in bf16 and e4m3
  kAmpere,  // 8.0: in bf16
  kTuring,  // 7.5: in f16
};
std::string Name(GpuModel model);
// Those that tests can have, of which kHopper does all that kAmpere does. A card is the one that it
// is, under the name of the first.
std::vector<GpuModel> GpuModels();
// All that tests can have that multiply e4m3, or all that do not.
std::vector<GpuModel> GpuModelsByF8(bool multiply_f8);

// Lives until the next call.
Device& OpenGpu(GpuModel model, GpuOrder order);

}  // namespace ingot::conformance
