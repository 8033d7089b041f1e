// The other end of the service: the process that has the engine, or answers questions of it.
#pragma once

#include "base/status.h"

namespace ingot {

// Speaks jobs/worker_protocol.h over `socket` until the other side closes it; the process then ends
// at once, so that nothing computes for nobody. Returns only when the stream or the engine fails.
Status RunWorker(int socket);

}  // namespace ingot
