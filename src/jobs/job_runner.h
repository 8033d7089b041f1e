// Runs the jobs of a queue, one after the other, in a worker process, and writes what became of
// each: done, failed, cancelled, or queued again after the worker died, and quarantined when it
// died of the job twice.
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "jobs/event_log.h"
#include "jobs/job_queue.h"
#include "jobs/job_service.h"
#include "jobs/picture_paths.h"
#include "jobs/supervisor.h"

namespace ingot {

struct JobRunnerOptions {
  std::filesystem::path data_dir;        // outputs/ and embeddings/ are in it
  std::filesystem::path scratch_folder;  // RunOptions
  double watchdog_s = 600;               // JobServiceOptions
  WorkerSupervisor::Options worker;
  std::function<int64_t()> memory_bytes;  // of the engine, asked when a job begins
};

// Thread-safe but for Start and Stop. `queue` and `events` outlive it.
class JobRunner {
 public:
  using Clock = WorkerSupervisor::Clock;

  JobRunner(JobQueue& queue, EventLog& events, JobRunnerOptions options);
  ~JobRunner() { Stop(); }
  JobRunner(const JobRunner&) = delete;
  JobRunner& operator=(const JobRunner&) = delete;

  void Start();
  void Stop();

  // A job was added to the queue.
  void Wake() { worker_->Wake(); }

  // If `id` runs, cancels it and waits for its end; else waits a moment: it may begin. Never past
  // `deadline`.
  void Cancel(std::string_view id, Clock::time_point deadline);
  // JobService::Interrupt.
  bool Interrupt();

  bool is_idle() const;
  // The plan with which a running job runs; the queue has that of its acceptance until it ends.
  void TakePlanOfRun(JobRow& row) const;
  // An end that the queue has written without a run.
  void CountEnd(JobState state);
  // What is counted since the start, the running job and the worker.
  ServiceState State() const;

  // For what the worker keeps between jobs; one that is not there keeps nothing.
  void SendBudget(int64_t memory_bytes);
  void Forget();

  pid_t worker_pid() const { return worker_->pid(); }

 private:
  // What is to be written of a run that is over.
  struct Outcome {
    bool requeues = false;
    JobEnd end;                           // unless it requeues; num_deaths always
    std::optional<int64_t> memory_bytes;  // of the next run
    Json event;                           // data of the event
  };
  struct Run {
    QueuedJob job;
    double started = 0;
    Clock::time_point clock_started, phase_started, last_sign, renewed;
    int64_t num_ops = 0;
    RunningJob shown;
    bool cancel_wanted = false, interrupt_wanted = false, interrupt_sent = false;
    std::optional<Clock::time_point> cancel_sent;
    std::optional<Outcome> outcome;  // set: only the queue has yet to take it
    Clock::time_point settle_after;

    bool is_unwanted() const { return cancel_wanted || interrupt_wanted; }
    bool HasPictures() const;  // one of the batch is sampled
  };

  // On the thread of the supervisor.
  void HearReady();
  Clock::time_point TakeTurn();
  // Of a run that goes on: cancels, looks at the clock, keeps the lease.
  Clock::time_point Watch(std::unique_lock<std::mutex>& lock);
  // No job goes to a worker that is about to die.
  void Doom(std::string reason, bool counted);
  void Begin(std::unique_lock<std::mutex>& lock);
  // Names the pictures and hands the job to the worker.
  Status Dispatch(QueuedJob& job);
  void Hear(const Json& message);
  void HearProgress(const Json& message);
  void HearMemory(const Json& message);
  void HearPreview(const Json& message);
  void HearDone(std::unique_lock<std::mutex>& lock, const Json& result);
  void HearDeath(const WorkerDeath& death);
  void Count(const Json& result);
  void CountEndLocked(JobState state);
  // The run ends without pictures.
  Clock::time_point End(std::unique_lock<std::mutex>& lock, JobState state, const Status& fault);
  void RemoveUnwanted();
  // Writes the outcome; where the queue does not take it, the run stays and is settled later.
  void Settle(std::unique_lock<std::mutex>& lock);
  // To a worker that has just died: it says so at the end of its stream.
  void Send(const Json& message) { static_cast<void>(worker_->Send(message)); }

  JobQueue& queue_;
  EventLog& events_;
  const JobRunnerOptions options_;

  mutable std::mutex mutex_;
  std::condition_variable run_changed_;
  ServiceState totals_;     // what is counted
  std::optional<Run> run_;  // made, changed and ended by the supervisor's thread

  // Of the supervisor's thread alone.
  PicturePaths paths_;
  std::string loaded_model_;
  bool worker_is_doomed_ = false;
  Clock::time_point claim_after_ = Clock::time_point();
  std::vector<std::filesystem::path> unwanted_;  // pictures of a batch that did not become whole

  std::atomic<bool> started_ = false;  // worker_ is there
  std::unique_ptr<WorkerSupervisor> worker_;
};

}  // namespace ingot
