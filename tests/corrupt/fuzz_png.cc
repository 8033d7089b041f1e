// libFuzzer: any bytes are read as PNG or refused, and what is read can be
// written again.
#include <cstdint>

#include "base/check.h"
#include "formats/png.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const auto picture = ingot::DecodePng(std::as_bytes(std::span(data, size)), "fuzz");
  if (picture.ok()) (void)ingot::EncodePng(*picture);
  return 0;
}
