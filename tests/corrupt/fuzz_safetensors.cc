// libFuzzer: any bytes are read as safetensors or refused, in one line.
#include <cstdint>

#include "fuzz_weights.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  ingot::ReadWeights(ingot::ReadSafetensors, std::as_bytes(std::span(data, size)));
  return 0;
}
