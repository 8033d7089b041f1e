// Keeps one worker process alive: starts it, hears it, says how it died, starts it again.
#pragma once

#include <sys/types.h>

#include <atomic>
#include <chrono>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <thread>

#include "base/status.h"
#include "engine/json.h"
#include "jobs/worker_protocol.h"

namespace ingot {

struct WorkerDeath {
  // Of what it did: a fatal signal, an exit, the kernel's out-of-memory killer, silence. Else
  // somebody outside killed it, or its server did.
  bool own_making = false;
  std::string reason;  // "signal 6 (Aborted)"
};

// From the status of waitpid; `out_of_memory`: the kernel killed for memory while it ran.
WorkerDeath DeathOf(int wait_status, bool out_of_memory);

// Which deaths the kernel's out-of-memory killer explains: it counts its kills in all processes of
// the cgroup, so each explains one death. Shared by the supervisors of a server: the planner's end
// does not make the next kill of a worker from outside one for memory. Thread-safe.
class KernelKills {
 public:
  struct Mark {
    int64_t num_kills = 0, num_explained = 0;
  };
  Mark Now();
  // Of a process that began at `since` and was killed.
  bool Explains(const Mark& since);

 private:
  std::mutex mutex_;
  int64_t num_explained_ = 0;
};

// All but Send, Wake and the getters are called on the supervisor's own thread, one at a time.
class WorkerSupervisor {
 public:
  using Clock = std::chrono::steady_clock;

  struct Options {
    std::filesystem::path binary;  // run as `BINARY worker`
    Json start;                    // the first message
    std::shared_ptr<KernelKills> kernel_kills;
  };
  struct Callbacks {
    std::function<void()> on_ready;
    std::function<void(const Json&)> on_message;
    std::function<void(const WorkerDeath&)> on_death;
    // After whatever happened, and at the time it gives: what there is to do now.
    std::function<Clock::time_point()> on_turn;
  };

  WorkerSupervisor(Options options, Callbacks callbacks);
  ~WorkerSupervisor() { Stop(); }
  WorkerSupervisor(const WorkerSupervisor&) = delete;
  WorkerSupervisor& operator=(const WorkerSupervisor&) = delete;

  // Kills the worker, which is told as a death from outside; no callback runs after.
  void Stop();

  // kUnavailable where no worker is there; what was sent to one that dies is lost with it.
  Status Send(const Json& message);
  // on_turn runs soon.
  void Wake();
  // From a callback. `counted`: the death is of its own making, for this reason.
  void Kill(std::string reason, bool counted);

  bool alive() const { return is_ready_; }
  pid_t pid() const { return pid_; }  // 0: none
  int64_t num_starts() const { return num_starts_; }
  int64_t num_deaths() const { return num_deaths_; }

 private:
  void Run();
  Status Start();
  void Serve();  // until the worker is dead or unwanted
  bool HearArrived();
  void Reap();
  void WaitToStartAgain(int num_failures);

  const Options options_;
  const Callbacks callbacks_;
  int wake_ = -1;  // eventfd
  int socket_ = -1;
  std::mutex stream_mutex_;  // of the pointer
  std::shared_ptr<MessageStream> stream_;
  std::atomic<bool> ends_ = false, is_ready_ = false;
  std::atomic<pid_t> pid_ = 0;
  std::atomic<int64_t> num_starts_ = 0, num_deaths_ = 0;
  KernelKills::Mark started_at_;
  bool was_killed_ = false;  // by Kill
  WorkerDeath killed_as_;
  std::thread thread_;
};

}  // namespace ingot
