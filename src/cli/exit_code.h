// Exit codes of the command line (README, "Exit codes").
#pragma once

#include "base/status.h"

namespace ingot {

// 1 is left to bugs (aborts and what the shell makes of them).
inline int ExitCode(StatusCode code) {
  switch (code) {
    case StatusCode::kOk:
      return 0;
    case StatusCode::kInvalidArgument:
      return 2;  // bad usage or value
    case StatusCode::kOutOfBudget:
      return 3;  // does not fit the budget
    case StatusCode::kNotFound:
    case StatusCode::kCorruption:
    case StatusCode::kUnsupported:
    case StatusCode::kNotFinite:
      return 4;  // a file missing, damaged, unsupported, or NaN
    case StatusCode::kCancelled:
      return 5;
    case StatusCode::kUnavailable:
      return 6;  // machine or environment
  }
  return 1;
}

}  // namespace ingot
