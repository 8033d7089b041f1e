// The GPU that the tests of the CUDA device run on: the emulated one (cuda_conformance_test), or a
// card (cuda_card_test).
#pragma once

#include <cstdint>

#include "devices/device.h"

namespace ingot::conformance {

// In which order an emulated GPU gives turns to the threads of a block and to streams.
enum class GpuOrder : uint8_t {
  kForward,   // streams lazy
  kBackward,  // streams eager
  kShuffled,  // streams lazy
};

// Lives until the next call.
Device& OpenGpu(GpuOrder order);

}  // namespace ingot::conformance
