// What the server counts, in the text form of Prometheus, and the log of its requests.
#pragma once

#include <array>
#include <chrono>
#include <cstdint>
#include <map>
#include <mutex>
#include <string>
#include <tuple>

#include "jobs/job_service.h"
#include "server/http_server.h"
#include "server/serve.h"

namespace ingot::server {

// Thread-safe.
class Metrics {
 public:
  // Counts the request. Methods that are none of HTTP's are counted as "other": clients choose no
  // label.
  void Count(const Exchange& exchange);
  // Called about each second.
  void SetWorkerAlive(bool is_alive, std::chrono::steady_clock::time_point now);
  // Seconds since the worker was last seen alive; 0 when it is.
  double WorkerDeadFor(std::chrono::steady_clock::time_point now) const;

  // The text of /metrics.
  std::string Text(const ServiceState& state, const MemoryState& memory, HttpCounts counts) const;

 private:
  // A cheap route takes microseconds, a picture minutes.
  static constexpr std::array kBuckets = {0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1,
                                          0.25,  0.5,    1.0,   2.5,  10.0,  60.0, 300.0};
  struct Latency {
    std::array<int64_t, kBuckets.size()> counts = {};
    int64_t num_requests = 0;
    double seconds = 0;
  };

  mutable std::mutex mutex_;
  std::map<std::tuple<std::string, std::string, int>, int64_t> requests_;  // method, route, status
  std::map<std::string, Latency> latencies_;                               // by route
  int64_t bytes_in_ = 0, bytes_out_ = 0;
  bool is_worker_alive_ = true;
  std::chrono::steady_clock::time_point worker_seen_ = std::chrono::steady_clock::now();
};

// One line of JSON: time, level, request_id, method, path, route, status, seconds, bytes, client,
// address, job_id. No query, header or body: they may hold secrets.
std::string LogLine(const Exchange& exchange);

// The same of a job or of the worker: time, level, event, job_id, and why. No prompt, no picture.
// Empty for events that say how far a job is.
std::string LogLine(const JobEvent& event);
LogLevel LevelOf(const JobEvent& event);

// Answers that failed are warnings, those of the server's own fault errors.
LogLevel LevelOf(const Exchange& exchange);

}  // namespace ingot::server
