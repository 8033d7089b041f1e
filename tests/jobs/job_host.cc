// A process around JobService for tests that kill it: commands as JSON lines in, answers out.
//
//   job_host DATA_DIR MODELS_DIR WORKER_BINARY [MEMORY_BYTES [WATCHDOG_S]]
//   {"do":"submit","request":{…},"key":"…"} | get | list | cancel | state | ask | remove | memory |
//   interrupt | events
#include <cstdio>
#include <cstdlib>
#include <iostream>
#include <mutex>
#include <string>

#include "jobs/job_service.h"
#include "jobs/worker_protocol.h"

namespace ingot {
namespace {

Json ToJson(const JobRow& row) {
  return {{"id", row.id},
          {"state", Name(row.state)},
          {"priority", row.priority},
          {"plan_bytes", row.plan.is_object() ? row.plan.value("peak_ram_bytes", Json()) : Json()},
          {"record", row.record},
          {"error", row.error},
          {"error_code", row.error_code},
          {"num_deaths", row.num_deaths},
          {"started", row.started},
          {"finished", row.finished}};
}

Json StateJson(JobService& service) {
  const ServiceState state = service.State();
  const MemoryState memory = service.Memory();
  return {{"num_queued", state.num_queued},
          {"running", state.running ? Json(state.running->id) : Json()},
          {"phase", state.running ? Json(state.running->phase) : Json()},
          {"step", state.running ? state.running->step : 0},
          {"worker_alive", state.worker_alive},
          {"server_rss_bytes", memory.server_rss_bytes},
          {"worker_rss_bytes", memory.worker_rss_bytes},
          {"planner_rss_bytes", memory.planner_rss_bytes},
          {"memory_bytes", memory.budget_bytes},
          {"server_share_bytes", memory.server_share_bytes},
          {"num_worker_deaths", state.num_worker_deaths},
          {"num_done", state.num_done}};
}

template <typename T>
Json Answer(const Result<T>& result) {
  if (!result.ok()) return FaultToJson(result.status());
  return ToJson(*result);
}
Json Answer(const Status& status) { return status.ok() ? Json::object() : FaultToJson(status); }

Json Handle(JobService& service, const Json& command) {
  const std::string what = TextOf(command, "do"), id = TextOf(command, "id");
  if (what == "submit") {
    return Answer(service.Submit({.request = command.value("request", Json::object()),
                                  .client = TextOf(command, "client"),
                                  .idempotency_key = TextOf(command, "key"),
                                  .priority = command.value("priority", 0)}));
  }
  if (what == "get") return Answer(service.Get(id));
  if (what == "cancel") return Answer(service.Cancel(id));
  if (what == "remove") return Answer(service.Remove(id));
  if (what == "state") return StateJson(service);
  if (what == "interrupt") return Json(service.Interrupt());
  if (what == "memory") return Answer(service.SetMemory(NumberOf(command, "memory_bytes")));
  if (what == "list") {
    const Result<JobPage> page = service.List({.limit = 1000});
    if (!page.ok()) return FaultToJson(page.status());
    Json rows = Json::array();
    for (const JobRow& row : page->jobs) rows.push_back(ToJson(row));
    return rows;
  }
  if (what == "ask") {
    const Result<Json> answer =
        service.Ask(TextOf(command, "question"), command.value("argument", Json::object()));
    return answer.ok() ? *answer : FaultToJson(answer.status());
  }
  return FaultToJson(InvalidArgument("do: expected a command, found '{}'", what));
}

int Main(int argc, char** argv) {
  JobServiceOptions options{.data_dir = argv[1], .models_dir = argv[2], .worker_binary = argv[3]};
  if (argc > 4) options.memory_bytes = std::atoll(argv[4]);
  if (argc > 5) options.watchdog_s = std::atof(argv[5]);
  const Result<std::unique_ptr<JobService>> service = JobService::Open(options);
  if (!service.ok()) {
    std::printf("%s\n", Dump(FaultToJson(service.status())).c_str());
    return 1;
  }
  std::mutex out;
  const auto say = [&](const Json& json) {
    const std::lock_guard lock(out);
    std::printf("%s\n", Dump(json).c_str());
    std::fflush(stdout);
  };
  say({{"open", true}});
  for (std::string line; std::getline(std::cin, line);) {
    say(Handle(**service, Json::parse(line)));
  }
  return 0;
}

}  // namespace
}  // namespace ingot

int main(int argc, char** argv) { return argc < 4 ? 2 : ingot::Main(argc, argv); }
