// A worker that is told by the prompt how to fare: speaks the protocol, makes no picture.
//
// "abort": SIGABRT. "hang": no op ends, though it tells its memory. "slow": two seconds without a
// step, in which ops end. "deaf": progress for ever, cancel is not heard. "tire": dies unless its
// budget was made smaller. "lose the device": so does its GPU. "eat": takes memory until it is
// killed; "overeat": unless its budget was made smaller; "eat the planner": as it is planned. Else:
// done at once.
#include <sys/mman.h>
#include <unistd.h>

#include <cstdlib>
#include <cstring>
#include <thread>

#include "jobs/worker_protocol.h"

namespace ingot {
namespace {

Json Plan(const std::string& prompt = {}) {
  Json plan = {{"peak_ram_bytes", 400 << 20}};
  if (prompt == "lose the device") plan["peak_vram_bytes"] = 800 << 20;
  return plan;
}

[[noreturn]] void Eat() {
  constexpr size_t kBiteBytes = 16 << 20;
  while (true) {
    void* bite = ::mmap(nullptr, kBiteBytes, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (bite != MAP_FAILED) std::memset(bite, 1, kBiteBytes);
  }
}

Json AnswerOf(const Json& argument) {
  Json job = argument.value("request", Json::object());
  if (TextOf(job, "prompt") == "eat the planner") Eat();
  job["batch"] = 1;
  job["seed"] = 7;
  return {{"job", job}, {"plan", Plan(TextOf(job, "prompt"))}, {"budget", Json::object()}};
}

void Fare(MessageStream& stream, const Json& run) {
  const std::string id = TextOf(run, "id"), prompt = TextOf(run["job"], "prompt");
  if (prompt == "abort") std::abort();
  if (prompt == "eat" || (prompt == "overeat" && !run.contains("shrunk_bytes"))) Eat();
  for (int i = 0; prompt == "hang" || (prompt == "slow" && i < 40); ++i) {
    (void)stream.Send({{"type", "memory"}, {"id", id}, {"num_ops", prompt == "slow" ? i : 1}});
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
  }
  if (prompt == "lose the device" && !run.contains("shrunk_bytes")) std::_Exit(kDeviceLostExit);
  if (prompt == "tire" && !run.contains("shrunk_bytes")) std::_Exit(3);
  while (prompt == "deaf") {
    (void)stream.Send(
        {{"type", "progress"}, {"id", id}, {"phase", "t5"}, {"step", 1}, {"num_steps", 2}});
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  }
  const Json result = {{"images", Json::array()},
                       {"plan", Plan()},
                       {"shrunk_bytes", run.value("shrunk_bytes", 0)},
                       {"measured", {{"peak_ram_bytes", 1}, {"phases", Json::array()}}}};
  (void)stream.Send({{"type", "done"}, {"id", id}, {"result", result}});
}

int Main() {
  MessageStream stream(kWorkerSocket);
  while (true) {
    const Result<Json> message = stream.Receive();
    if (!message.ok()) return 0;
    const std::string type = TextOf(*message, "type");
    if (type == "start") (void)stream.Send({{"type", "ready"}});
    if (type == "run") Fare(stream, *message);
    if (type == "ask") {
      (void)stream.Send({{"type", "answer"},
                         {"number", (*message)["number"]},
                         {"answer", AnswerOf((*message)["argument"])}});
    }
  }
}

}  // namespace
}  // namespace ingot

int main() { return ingot::Main(); }
