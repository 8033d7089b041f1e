// Pictures that are there already: what they say of themselves, and small ones of them.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "formats/png.h"

namespace ingot {

// The texts of a PNG (tEXt, zTXt, iTXt; else the one hidden in its alpha channel), a JPEG or a WebP
// (EXIF, comments), under the keys of PNG: "parameters" is the text of A1111 and Forge, "hidden"
// the JSON object in an alpha channel. Nothing of a picture that has none. kUnsupported for other
// formats, kCorruption for a damaged file. `name` stands in errors.
Result<std::vector<PngText>> ReadPictureTexts(std::string_view bytes, std::string_view name);

// A PNG without texts, no side above `max_side` (ShrinkPng).
Result<std::string> SmallPicture(std::string_view png, std::string_view name, int max_side);

}  // namespace ingot
