#include "jobs/planner.h"

#include <utility>

namespace ingot {
namespace {

// A refusal of a published model makes about ten plans, 4 s each on a busy machine of two
// processors; past three times that the worker hangs.
constexpr std::chrono::seconds kPatience(120);

// A worker is ready within 0.1 s of its start; a binary that cannot run never is.
constexpr std::chrono::seconds kStartPatience(10);

}  // namespace

Planner::Planner(WorkerSupervisor::Options options) {
  supervisor_ = std::make_unique<WorkerSupervisor>(
      std::move(options), WorkerSupervisor::Callbacks{
                              .on_ready =
                                  [this] {
                                    const std::lock_guard lock(mutex_);
                                    is_ready_ = true;
                                    changed_.notify_all();
                                  },
                              .on_message = [this](const Json& message) { HearAnswer(message); },
                              .on_death = [this](const WorkerDeath&) { LoseAll(); },
                              .on_turn = [this] { return KillIfSilent(); }});
}

Planner::~Planner() { supervisor_->Stop(); }

Result<Json> Planner::Ask(std::string_view question, const Json& argument) {
  // Once more, as the worker may have been killed from outside.
  for (int i = 0; i < 2; ++i) {
    INGOT_ASSIGN_OR_RETURN(std::optional<Result<Json>> answer, AskOnce(question, argument));
    if (answer) return *std::move(answer);
  }
  return Unavailable("{}: expected an answer of the planner, found that it died of it twice",
                     question);
}

Result<std::optional<Result<Json>>> Planner::AskOnce(std::string_view question,
                                                     const Json& argument) {
  std::unique_lock lock(mutex_);
  if (!changed_.wait_for(lock, kStartPatience, [&] { return is_ready_; })) {
    return Unavailable("{}: expected a planner that runs, found none", question);
  }
  const uint64_t number = ++last_number_;
  Pending& pending = pending_[number];
  pending.asked = Clock::now();
  lock.unlock();
  const Status sent = supervisor_->Send(
      {{"type", "ask"}, {"number", number}, {"question", question}, {"argument", argument}});
  supervisor_->Wake();  // the time of this question begins
  lock.lock();
  if (sent.ok()) changed_.wait(lock, [&] { return pending.answer || pending.is_lost; });
  std::optional<Result<Json>> answer = std::move(pending.answer);
  pending_.erase(number);
  return answer;
}

void Planner::HearAnswer(const Json& message) {
  const std::lock_guard lock(mutex_);
  const auto at = pending_.find(static_cast<uint64_t>(NumberOf(message, "number").value_or(0)));
  if (at == pending_.end()) return;
  at->second.answer = message.contains("answer") ? Result<Json>(message["answer"])
                                                 : Result<Json>(FaultFromJson(message));
  changed_.notify_all();
}

void Planner::LoseAll() {
  const std::lock_guard lock(mutex_);
  is_ready_ = false;
  for (auto& [number, pending] : pending_) pending.is_lost = true;
  changed_.notify_all();
}

Planner::Clock::time_point Planner::KillIfSilent() {
  const std::lock_guard lock(mutex_);
  if (pending_.empty()) return Clock::time_point::max();
  const Clock::time_point until = pending_.begin()->second.asked + kPatience;
  if (Clock::now() < until) return until;
  supervisor_->Kill("silent", /*counted=*/true);
  return Clock::time_point::max();
}

}  // namespace ingot
