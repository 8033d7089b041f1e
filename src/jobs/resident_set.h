// What a process of the server holds in RAM.
#pragma once

#include <sys/types.h>

#include <cstdint>

namespace ingot {

struct ResidentSet {
  int64_t num_bytes = 0, anonymous_bytes = 0;  // anonymous: not of files
};

// Of `pid`; nothing of a process that has gone (pid 0 among them).
ResidentSet ReadResidentSet(pid_t pid);

}  // namespace ingot
