#include "server/metrics.h"

#include <algorithm>
#include <ctime>
#include <iterator>

#include "engine/json.h"

namespace ingot::server {
namespace {

std::string MethodLabel(const std::string& method) {
  for (const char* known : {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"}) {
    if (method == known) return method;
  }
  return "other";
}

std::string RouteLabel(const std::string& route) { return route.empty() ? "none" : route; }

// A label's value: names of phases are ours, but a quote would end the line for all.
std::string Escaped(const std::string& text) {
  std::string escaped;
  for (const char c : text) {
    if (c == '\\' || c == '"') escaped.push_back('\\');
    escaped.append(c == '\n' ? "\\n" : std::string(1, c));
  }
  return escaped;
}

class Writer {
 public:
  void Family(const char* name, const char* type, const char* help) {
    name_ = name;
    fmt::format_to(out(), "# HELP {} {}\n# TYPE {} {}\n", name, help, name, type);
  }
  template <typename T>
  void Value(T value, std::string_view labels = {}, std::string_view suffix = {}) {
    fmt::format_to(out(), "{}{}{}{}{} {}\n", name_, suffix, labels.empty() ? "" : "{", labels,
                   labels.empty() ? "" : "}", value);
  }
  template <typename T>
  void One(const char* name, const char* type, const char* help, T value) {
    Family(name, type, help);
    Value(value);
  }
  std::string text;

 private:
  std::back_insert_iterator<std::string> out() { return std::back_inserter(text); }
  const char* name_ = "";
};

void WriteJobs(Writer& writer, const ServiceState& state) {
  writer.One("ingot_jobs_queued", "gauge", "Jobs that wait", state.num_queued);
  writer.One("ingot_jobs_running", "gauge", "Jobs that run", state.running ? 1 : 0);
  writer.Family("ingot_jobs_total", "counter", "Jobs that ended, by outcome");
  for (const auto& [name, count] :
       {std::pair("done", state.num_done), std::pair("failed", state.num_failed),
        std::pair("cancelled", state.num_cancelled),
        std::pair("quarantined", state.num_quarantined)}) {
    writer.Value(count, fmt::format("outcome=\"{}\"", name));
  }
  writer.Family("ingot_phase_seconds_total", "counter", "Seconds of all jobs, by phase");
  for (const auto& [name, seconds] : state.phase_s) {
    writer.Value(seconds, fmt::format("phase=\"{}\"", Escaped(name)));
  }
  writer.One("ingot_streamed_bytes_total", "counter", "Bytes of weights read while jobs ran",
             state.streamed_bytes);
  writer.One("ingot_stalled_seconds_total", "counter", "Seconds that jobs waited for weights",
             state.stalled_s);
  writer.One("ingot_peak_over_plan_ratio", "gauge", "Largest measured peak over its plan",
             state.max_peak_over_plan);
}

void WriteProcesses(Writer& writer, const ServiceState& state, const MemoryState& memory) {
  writer.One("ingot_worker_up", "gauge", "Whether the worker is alive", state.worker_alive ? 1 : 0);
  writer.One("ingot_worker_starts_total", "counter", "Starts of workers", state.num_worker_starts);
  writer.One("ingot_worker_deaths_total", "counter", "Deaths of workers", state.num_worker_deaths);
  writer.Family("ingot_resident_bytes", "gauge", "Resident set, by process");
  writer.Value(memory.server_rss_bytes, "process=\"server\"");
  writer.Value(memory.worker_rss_bytes, "process=\"worker\"");
  writer.Value(memory.planner_rss_bytes, "process=\"planner\"");
  writer.One("ingot_memory_bytes", "gauge", "Budget in force", memory.budget_bytes);
  writer.One("ingot_server_share_bytes", "gauge", "Of it, for all but the engine",
             memory.server_share_bytes);
}

}  // namespace

void Metrics::Count(const Exchange& exchange) {
  const std::lock_guard lock(mutex_);
  ++requests_[{MethodLabel(exchange.method), RouteLabel(exchange.route), exchange.status}];
  Latency& latency = latencies_[RouteLabel(exchange.route)];
  for (size_t i = 0; i < kBuckets.size(); ++i) {
    if (exchange.seconds <= kBuckets[i]) ++latency.counts[i];
  }
  ++latency.num_requests;
  latency.seconds += exchange.seconds;
  bytes_in_ += static_cast<int64_t>(exchange.bytes_in);
  bytes_out_ += static_cast<int64_t>(exchange.bytes_out);
}

void Metrics::SetWorkerAlive(bool is_alive, std::chrono::steady_clock::time_point now) {
  const std::lock_guard lock(mutex_);
  is_worker_alive_ = is_alive;
  if (is_alive) worker_seen_ = now;
}

double Metrics::WorkerDeadFor(std::chrono::steady_clock::time_point now) const {
  const std::lock_guard lock(mutex_);
  return is_worker_alive_ ? 0 : std::chrono::duration<double>(now - worker_seen_).count();
}

std::string Metrics::Text(const ServiceState& state, const MemoryState& memory,
                          HttpCounts counts) const {
  Writer writer;
  WriteJobs(writer, state);
  WriteProcesses(writer, state, memory);
  const std::lock_guard lock(mutex_);
  writer.One("ingot_http_connections", "gauge", "Connections", counts.num_connections);
  writer.One("ingot_http_streams", "gauge", "Event streams", counts.num_streams);
  writer.One("ingot_http_received_bytes_total", "counter", "Bytes of bodies of requests",
             bytes_in_);
  writer.One("ingot_http_sent_bytes_total", "counter", "Bytes of bodies of answers", bytes_out_);
  writer.Family("ingot_http_requests_total", "counter", "Requests, by route and status");
  for (const auto& [key, count] : requests_) {
    const auto& [method, route, status] = key;
    writer.Value(count, fmt::format("method=\"{}\",route=\"{}\",status=\"{}\"", method,
                                    Escaped(route), status));
  }
  writer.Family("ingot_http_request_seconds", "histogram", "From a request to its answer");
  for (const auto& [route, latency] : latencies_) {
    const std::string label = fmt::format("route=\"{}\"", Escaped(route));
    for (size_t i = 0; i < kBuckets.size(); ++i) {
      writer.Value(latency.counts[i], fmt::format("{},le=\"{}\"", label, kBuckets[i]), "_bucket");
    }
    writer.Value(latency.num_requests, label + ",le=\"+Inf\"", "_bucket");
    writer.Value(latency.seconds, label, "_sum");
    writer.Value(latency.num_requests, label, "_count");
  }
  return std::move(writer.text);
}

LogLevel LevelOf(const Exchange& exchange) {
  if (exchange.status >= 500) return LogLevel::kError;
  return exchange.status >= 400 ? LogLevel::kWarning : LogLevel::kInfo;
}

namespace {

// {"time","level"}: how each line begins.
Json LogHead(LogLevel level) {
  const auto now = std::chrono::system_clock::now();
  const std::time_t seconds = std::chrono::system_clock::to_time_t(now);
  const auto milliseconds =
      std::chrono::duration_cast<std::chrono::milliseconds>(now.time_since_epoch()).count() % 1000;
  std::tm utc;
  gmtime_r(&seconds, &utc);
  char time[32];
  std::strftime(time, sizeof time, "%Y-%m-%dT%H:%M:%S", &utc);
  constexpr const char* kLevels[] = {"error", "warning", "info", "debug"};
  return {{"time", fmt::format("{}.{:03}Z", time, milliseconds)},
          {"level", kLevels[static_cast<size_t>(level)]}};
}

}  // namespace

LogLevel LevelOf(const JobEvent& event) {
  if (event.type == "quarantined") return LogLevel::kError;
  const bool is_death = event.type == "worker" && !event.data.value("alive", true);
  return is_death || event.type == "failed" || event.type == "requeued" ? LogLevel::kWarning
                                                                        : LogLevel::kInfo;
}

std::string LogLine(const JobEvent& event) {
  constexpr std::array kLogged = {"queued", "started",   "moved",       "requeued", "done",
                                  "failed", "cancelled", "quarantined", "budget",   "worker"};
  if (std::ranges::find(kLogged, event.type) == kLogged.end()) return {};
  Json json = LogHead(LevelOf(event));
  json["event"] = event.type;
  json["job_id"] = event.job_id;
  for (const char* why : {"client", "priority", "position", "num_deaths", "alive", "counted",
                          "reason", "code", "error", "memory_bytes", "limited_by"}) {
    if (event.data.contains(why)) json[why] = event.data[why];
  }
  return Dump(json);
}

std::string LogLine(const Exchange& exchange) {
  Json json = LogHead(LevelOf(exchange));
  json.update({{"request_id", exchange.id},
               {"method", exchange.method.substr(0, 16)},
               {"path", exchange.path.substr(0, 256)},
               {"route", exchange.route},
               {"status", exchange.status},
               {"seconds", exchange.seconds},
               {"bytes_in", exchange.bytes_in},
               {"bytes_out", exchange.bytes_out},
               {"client", exchange.client},
               {"address", exchange.address}});
  if (!exchange.job_id.empty()) json["job_id"] = exchange.job_id;
  return Dump(json);
}

}  // namespace ingot::server
