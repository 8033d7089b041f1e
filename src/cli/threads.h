// The --threads flag.
#pragma once

#include <algorithm>
#include <cstddef>
#include <optional>
#include <thread>

#include "base/status.h"

namespace ingot {

// Unset: one a processor.
inline Result<size_t> NumThreads(std::optional<int> flag) {
  const int threads =
      flag.value_or(static_cast<int>(std::max(1u, std::thread::hardware_concurrency())));
  if (threads < 1 || threads > 1024) {
    return InvalidArgument("--threads: expected a number from 1 to 1024, found {}", threads);
  }
  return static_cast<size_t>(threads);
}

}  // namespace ingot
