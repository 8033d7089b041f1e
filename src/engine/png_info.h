// What a PNG says of itself: its texts, read without decoding a pixel.
#pragma once

#include <string_view>
#include <vector>

#include "base/status.h"
#include "formats/png.h"

namespace ingot {

// Of compressed texts: more is left out, of one and of all together.
inline constexpr size_t kMaxInflatedText = 4 << 20;
inline constexpr size_t kMaxInflatedTexts = 16 << 20;

// The tEXt, zTXt and iTXt chunks in their order, as UTF-8. kCorruption says what is wrong with a
// file that is no PNG, ends early or whose texts have a wrong checksum. `name` stands in errors.
Result<std::vector<PngText>> ReadPngTexts(std::string_view bytes, std::string_view name);

}  // namespace ingot
