// The default queue: one SQLite file beside the pictures, for the workers of one machine.
#pragma once

#include <filesystem>
#include <memory>

#include "jobs/job_queue.h"

namespace ingot {

struct SqliteQueueOptions {
  int busy_timeout_ms = 2000;  // how long another program's lock is waited for
};

// Makes the file if absent and brings an older one up to date; jobs that were running are queued
// again, as their server has died: only one at a time opens a folder's queue (its service sees to
// it). WAL with synchronous=FULL: what was committed outlives a power failure. kUnavailable names
// the file; kCorruption when it is no queue; kUnsupported when a newer Ingot wrote it.
Result<std::unique_ptr<JobQueue>> OpenSqliteQueue(const std::filesystem::path& path,
                                                  const SqliteQueueOptions& options = {});

}  // namespace ingot
