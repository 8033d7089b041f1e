// Texts in JPEG and WebP pictures: EXIF and comments, read without decoding a pixel.
#pragma once

#include <string_view>
#include <vector>

#include "formats/png.h"

namespace ingot {

// Under the keys of PNG: "parameters" is the UserComment (A1111, Forge), "Software" and "Comment"
// are themselves, and ComfyUI's "prompt" and "workflow" come from the camera's make and model. What
// is damaged has no text; nothing is read beyond the bytes. Empty also for other formats.
std::vector<PngText> ReadExifTexts(std::string_view bytes);

bool IsJpeg(std::string_view bytes);
bool IsWebp(std::string_view bytes);

}  // namespace ingot
