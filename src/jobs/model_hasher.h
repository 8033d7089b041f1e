// Makes the SHA-256 of model files while nothing else is to be done.
#pragma once

#include <condition_variable>
#include <functional>
#include <mutex>
#include <set>
#include <stop_token>
#include <string>
#include <string_view>
#include <thread>

#include "base/status.h"
#include "engine/json.h"

namespace ingot {

// One thread that asks the planning worker for one piece after the other: who asks it something
// else, or stops, waits for a piece at most.
class ModelHasher {
 public:
  struct Callbacks {
    // JobService::Ask: "models", and "hash" {"path"} -> {"sha256"}, null until its last piece.
    std::function<Result<Json>(std::string_view question, const Json& argument)> ask;
    std::function<bool()> is_idle;  // no job runs
    std::function<void(const std::string& path, const std::string& sha256)> on_hash;
  };

  explicit ModelHasher(Callbacks callbacks);

  // Of an answer to "models": files without hash get theirs.
  void Hear(const Json& models);

 private:
  static constexpr std::chrono::milliseconds kPause{500};  // while a job runs

  void Run(std::stop_token stop);
  void Hash(const std::string& path, std::stop_token stop);
  void Pause(std::stop_token stop);

  const Callbacks callbacks_;
  std::mutex mutex_;
  std::condition_variable_any changed_;
  std::set<std::string> waiting_;  // paths; one that cannot be read waits for the next list
  std::jthread thread_;            // last: uses all of the above
};

}  // namespace ingot
