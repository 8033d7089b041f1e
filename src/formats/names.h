// Names that come out of files: checked, and made fit for a one-line message.
#pragma once

#include <string>
#include <string_view>

namespace ingot {

bool IsUtf8(std::string_view text);

// In double quotes, with control characters and invalid bytes escaped and all
// beyond 120 bytes cut: a hostile name cannot break a line or flood a log.
std::string Quoted(std::string_view name);

}  // namespace ingot
