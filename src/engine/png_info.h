// What a PNG says of itself: its texts, read without decoding a pixel.
#pragma once

#include <string_view>
#include <vector>

#include "base/status.h"
#include "formats/png.h"

namespace ingot {

// The tEXt and uncompressed iTXt chunks in their order, as UTF-8. Compressed ones are left out:
// no bytes are made that were not sent. kCorruption says what is wrong with a file that is no PNG,
// ends early or whose texts have a wrong checksum. `name` stands in errors.
Result<std::vector<PngText>> ReadPngTexts(std::string_view bytes, std::string_view name);

}  // namespace ingot
