// A trace as a file in Chrome's trace format, for chrome://tracing and Perfetto.
#pragma once

#include <filesystem>

#include "base/status.h"
#include "base/trace.h"

namespace ingot {

// {"traceEvents":[…],"droppedSpans":N}: a name for each row ("M"), then complete events ("X", times
// in microseconds). The file appears whole or not at all.
Status WriteTrace(const Trace& trace, const std::filesystem::path& path);

}  // namespace ingot
