// Base64 (RFC 4648): pictures and credentials in JSON and headers.
#pragma once

#include <string>
#include <string_view>

#include "base/status.h"

namespace ingot {

std::string EncodeBase64(std::string_view bytes);

// White space is skipped and padding may lack, as in what clients send. kInvalidArgument says where
// another character stands.
Result<std::string> DecodeBase64(std::string_view text);

}  // namespace ingot
