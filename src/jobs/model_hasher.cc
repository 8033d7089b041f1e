#include "jobs/model_hasher.h"

#include <utility>

#include "jobs/worker_protocol.h"

namespace ingot {

ModelHasher::ModelHasher(Callbacks callbacks)
    : callbacks_(std::move(callbacks)), thread_([this](std::stop_token stop) { Run(stop); }) {}

void ModelHasher::Hear(const Json& models) {
  const auto list = models.find("models");
  if (list == models.end()) return;
  const std::lock_guard lock(mutex_);
  for (const Json& file : *list) {
    const std::string path = TextOf(file, "path");
    const bool is_damaged = !TextOf(file, "error").empty();
    if (!is_damaged && TextOf(file, "sha256").empty()) waiting_.insert(path);
  }
  changed_.notify_one();
}

void ModelHasher::Run(std::stop_token stop) {
  if (const Result<Json> models = callbacks_.ask("models", Json::object()); models.ok()) {
    Hear(*models);
  }
  while (true) {
    std::string path;
    {
      std::unique_lock lock(mutex_);
      if (!changed_.wait(lock, stop, [&] { return !waiting_.empty(); })) return;
      path = *waiting_.begin();
    }
    Hash(path, stop);
    const std::lock_guard lock(mutex_);
    waiting_.erase(path);
  }
}

void ModelHasher::Hash(const std::string& path, std::stop_token stop) {
  while (!stop.stop_requested()) {
    if (!callbacks_.is_idle()) {
      Pause(stop);
      continue;
    }
    const Result<Json> piece = callbacks_.ask("hash", {{"path", path}});
    if (!piece.ok()) return;
    if (const std::string sha256 = TextOf(*piece, "sha256"); !sha256.empty()) {
      return callbacks_.on_hash(path, sha256);
    }
  }
}

void ModelHasher::Pause(std::stop_token stop) {
  std::unique_lock lock(mutex_);
  changed_.wait_for(lock, stop, kPause, [] { return false; });
}

}  // namespace ingot
