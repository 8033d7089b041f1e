// The light worker: answers questions of files, prompts and plans while the other one computes.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string_view>

#include "jobs/supervisor.h"

namespace ingot {

// Thread-safe.
class Planner {
 public:
  explicit Planner(WorkerSupervisor::Options options);
  ~Planner();

  // The worker's answer, or its fault. kUnavailable when there is no worker, or when two died of it
  // or were too long about it.
  Result<Json> Ask(std::string_view question, const Json& argument);

  pid_t pid() const { return supervisor_->pid(); }

 private:
  using Clock = WorkerSupervisor::Clock;
  struct Pending {
    Clock::time_point asked;
    bool is_lost = false;  // with its worker
    std::optional<Result<Json>> answer;
  };

  // None: the worker died.
  Result<std::optional<Result<Json>>> AskOnce(std::string_view question, const Json& argument);
  void HearAnswer(const Json& message);
  void LoseAll();
  Clock::time_point KillIfSilent();

  std::mutex mutex_;
  std::condition_variable changed_;
  bool is_ready_ = false;
  uint64_t last_number_ = 0;
  std::map<uint64_t, Pending> pending_;
  std::unique_ptr<WorkerSupervisor> supervisor_;
};

}  // namespace ingot
