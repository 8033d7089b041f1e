#include "jobs/job_runner.h"

#include <unistd.h>

#include <algorithm>
#include <utility>

#include "base/base64.h"
#include "jobs/resident_set.h"

namespace ingot {
namespace {

namespace fs = std::filesystem;
using std::chrono::milliseconds;

// The lease's holder; one worker runs jobs.
constexpr const char* kWorkerName = "local";

// A job that brought its worker down so often is not tried again.
constexpr int kMaxDeaths = 2;

// The engine ends a job within some 30 ms. What it does not look up from (a plan of a large model,
// the last write of a picture) is ended by force, so that the 300 ms of a cancellation hold.
constexpr milliseconds kCancelPatience(200);

constexpr milliseconds kQueueRetry(500);    // after it could not be read or written
constexpr std::chrono::seconds kRenew(10);  // between heartbeats

double Now() {
  return std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count();
}

double SecondsSince(JobRunner::Clock::time_point start) {
  return std::chrono::duration<double>(JobRunner::Clock::now() - start).count();
}

}  // namespace

JobRunner::JobRunner(JobQueue& queue, EventLog& events, JobRunnerOptions options)
    : queue_(queue), events_(events), options_(std::move(options)), paths_(queue) {}

void JobRunner::Start() {
  worker_ = std::make_unique<WorkerSupervisor>(
      options_.worker, WorkerSupervisor::Callbacks{
                           .on_ready = [this] { HearReady(); },
                           .on_message = [this](const Json& message) { Hear(message); },
                           .on_death = [this](const WorkerDeath& death) { HearDeath(death); },
                           .on_turn = [this] { return TakeTurn(); }});
  started_ = true;
}

void JobRunner::Stop() {
  if (worker_) worker_->Stop();
}

void JobRunner::Cancel(std::string_view id, Clock::time_point deadline) {
  std::unique_lock lock(mutex_);
  if (run_ && run_->job.row.id == id) {
    run_->cancel_wanted = true;
    worker_->Wake();
    run_changed_.wait_until(lock, deadline, [&] { return !run_ || run_->job.row.id != id; });
  } else {
    run_changed_.wait_for(lock, milliseconds(5));
  }
}

bool JobRunner::Interrupt() {
  const std::lock_guard lock(mutex_);
  if (!run_) return false;
  (run_->HasPictures() ? run_->interrupt_wanted : run_->cancel_wanted) = true;
  worker_->Wake();
  return true;
}

bool JobRunner::is_idle() const {
  const std::lock_guard lock(mutex_);
  return !run_;
}

void JobRunner::TakePlanOfRun(JobRow& row) const {
  const std::lock_guard lock(mutex_);
  if (run_ && run_->job.row.id == row.id) row.plan = run_->job.row.plan;
}

ServiceState JobRunner::State() const {
  const std::lock_guard lock(mutex_);
  ServiceState state = totals_;
  if (run_) {
    state.running = run_->shown;
    state.running->elapsed_s = SecondsSince(run_->clock_started);
  }
  state.worker_alive = worker_->alive();
  state.num_worker_starts = worker_->num_starts();
  state.num_worker_deaths = worker_->num_deaths();
  return state;
}

void JobRunner::SendBudget(int64_t memory_bytes) {
  Send({{"type", "budget"}, {"memory_bytes", memory_bytes}});
}

void JobRunner::Forget() { Send({{"type", "forget"}}); }

// Steps count all pictures of a batch.
bool JobRunner::Run::HasPictures() const {
  if (shown.phase == "decode" || shown.phase == "save") return true;
  const int64_t batch = NumberOf(job.row.job, "batch").value_or(1);
  return shown.phase == "sampling" && shown.num_steps > 0 && shown.step * batch >= shown.num_steps;
}

void JobRunner::HearReady() {
  worker_is_doomed_ = false;
  events_.Add("", "worker", {{"alive", true}});
}

JobRunner::Clock::time_point JobRunner::TakeTurn() {
  if (!started_) return Clock::now() + milliseconds(10);
  std::unique_lock lock(mutex_);
  if (run_ && run_->outcome) Settle(lock);
  if (run_ && run_->outcome) return run_->settle_after;
  if (worker_is_doomed_) return Clock::time_point::max();
  if (!run_) Begin(lock);
  if (!run_) return claim_after_;
  if (run_->outcome) return run_->settle_after;
  return Watch(lock);
}

JobRunner::Clock::time_point JobRunner::Watch(std::unique_lock<std::mutex>& lock) {
  const Clock::time_point now = Clock::now();
  const auto patience = std::chrono::duration_cast<Clock::duration>(
      std::chrono::duration<double>(options_.watchdog_s));
  const std::string id = run_->job.row.id;
  if (run_->interrupt_wanted && !run_->interrupt_sent) {
    run_->interrupt_sent = true;
    Send({{"type", "interrupt"}, {"id", id}});
  }
  if (run_->cancel_wanted && !run_->cancel_sent) {
    run_->cancel_sent = now;
    Send({{"type", "cancel"}, {"id", id}});
  }
  if (run_->cancel_sent && now >= *run_->cancel_sent + kCancelPatience) {
    Doom("cancelled", /*counted=*/false);
    return End(lock, JobState::kCancelled, Status());
  }
  if (now >= run_->last_sign + patience) {
    Doom(fmt::format("watchdog: silent for {} s", options_.watchdog_s), /*counted=*/true);
    return Clock::time_point::max();
  }
  if (now >= run_->renewed + kRenew) {
    run_->renewed = now;
    const Status lease = queue_.Renew(run_->job.row.id, kWorkerName);
    if (lease.code() == StatusCode::kNotFound) run_->cancel_wanted = true;
  }
  Clock::time_point next = std::min(run_->last_sign + patience, run_->renewed + kRenew);
  if (run_->cancel_sent) next = std::min(next, *run_->cancel_sent + kCancelPatience);
  return run_->cancel_wanted && !run_->cancel_sent ? now : next;
}

void JobRunner::Doom(std::string reason, bool counted) {
  worker_is_doomed_ = true;
  worker_->Kill(std::move(reason), counted);
}

void JobRunner::Begin(std::unique_lock<std::mutex>& lock) {
  claim_after_ = Clock::time_point::max();
  lock.unlock();
  Result<std::optional<QueuedJob>> claimed = queue_.Claim(kWorkerName, loaded_model_);
  lock.lock();
  if (!claimed.ok()) {
    claim_after_ = Clock::now() + kQueueRetry;
    return;
  }
  if (!*claimed) return;
  const Clock::time_point now = Clock::now();
  run_.emplace(Run{.job = **std::move(claimed),
                   .started = Now(),
                   .clock_started = now,
                   .phase_started = now,
                   .last_sign = now,
                   .renewed = now,
                   .settle_after = now});
  run_->shown = {.id = run_->job.row.id, .phase = "plan", .started = run_->started};
  lock.unlock();
  // Only this thread changes the job of a run.
  const Status sent = Dispatch(run_->job);
  lock.lock();
  if (!sent.ok()) End(lock, JobState::kFailed, sent);
}

Status JobRunner::Dispatch(QueuedJob& job) {
  if (job.paths.empty()) {
    INGOT_ASSIGN_OR_RETURN(job.paths, paths_.Choose(job, options_.data_dir / "outputs"));
  }
  INGOT_RETURN_IF_ERROR(MakeFolders(job.paths));
  Json paths = Json::array();
  for (const fs::path& path : job.paths) paths.push_back(path.string());
  Json message = {{"type", "run"},
                  {"id", job.row.id},
                  {"job", job.row.job},
                  {"paths", paths},
                  {"memory_bytes", options_.memory_bytes()},
                  {"beside_bytes", kServerShareBytes},
                  {"scratch_folder", options_.scratch_folder.string()},
                  {"embedding_cache", (options_.data_dir / "embeddings").string()}};
  if (job.memory_bytes) message["shrunk_bytes"] = *job.memory_bytes;
  if (job.forge_inference_memory) {
    message["forge_inference_memory"] = *job.forge_inference_memory;
  }
  events_.Add(job.row.id, "started", {{"num_deaths", job.row.num_deaths}});
  Send(message);
  if (const Json files = job.row.job.value("files", Json::object()); files.is_object()) {
    loaded_model_ = TextOf(files, "diffusion");
  }
  return {};
}

void JobRunner::Hear(const Json& message) {
  std::unique_lock lock(mutex_);
  // The last words of a job that was given up are nobody's.
  if (!run_ || run_->outcome || TextOf(message, "id") != run_->job.row.id) return;
  const std::string type = TextOf(message, "type");
  if (type == "memory") return HearMemory(message);
  run_->last_sign = Clock::now();
  if (type == "plan") {
    run_->job.row.plan = message.value("plan", Json());
    events_.Add(run_->job.row.id, "plan", {{"plan", run_->job.row.plan}});
  } else if (type == "progress") {
    HearProgress(message);
  } else if (type == "preview") {
    HearPreview(message);
  } else if (type == "done") {
    HearDone(lock, message.value("result", Json::object()));
  } else if (type == "failed") {
    const Status fault = FaultFromJson(message);
    const bool cancelled = run_->is_unwanted() && fault.code() == StatusCode::kCancelled;
    End(lock, cancelled ? JobState::kCancelled : JobState::kFailed, fault);
  }
}

void JobRunner::HearProgress(const Json& message) {
  RunningJob& shown = run_->shown;
  const std::string phase = TextOf(message, "phase");
  shown.step = static_cast<int>(NumberOf(message, "step").value_or(0));
  shown.num_steps = static_cast<int>(NumberOf(message, "num_steps").value_or(0));
  if (phase != shown.phase) {
    shown.phase = phase;
    run_->phase_started = Clock::now();
    events_.Add(shown.id, "phase", {{"phase", phase}});
  }
  shown.eta_s = shown.step > 0 ? SecondsSince(run_->phase_started) / shown.step *
                                     (shown.num_steps - shown.step)
                               : 0;
  if (shown.num_steps == 0) return;
  events_.Add(shown.id, "step",
              {{"phase", phase},
               {"step", shown.step},
               {"num_steps", shown.num_steps},
               {"elapsed_s", SecondsSince(run_->clock_started)},
               {"eta_s", shown.eta_s}});
}

// Told by a thread that computes nothing: a job that hangs has such words too, but no ops.
void JobRunner::HearMemory(const Json& message) {
  const int64_t num_ops = NumberOf(message, "num_ops").value_or(0);
  if (num_ops > run_->num_ops) run_->last_sign = Clock::now();
  run_->num_ops = num_ops;
  JobMemory& memory = run_->shown.memory;
  memory = {.ram_bytes = NumberOf(message, "ram_bytes").value_or(0),
            .vram_bytes = NumberOf(message, "vram_bytes").value_or(0),
            .server_rss_bytes = ReadResidentSet(::getpid()).num_bytes,
            .kept_bytes = NumberOf(message, "kept_bytes").value_or(0),
            .kept_vram_bytes = NumberOf(message, "kept_vram_bytes").value_or(0),
            .streamed_bytes = NumberOf(message, "streamed_bytes").value_or(0),
            .stalled_s = message.value("stalled_s", 0.0)};
  Json event = {{"phase", run_->shown.phase}, {"elapsed_s", SecondsSince(run_->clock_started)}};
  event.update(ToJson(memory));
  events_.Add(run_->shown.id, "memory", std::move(event));
}

void JobRunner::HearPreview(const Json& message) {
  const std::string png = TextOf(message, "png");
  Result<std::string> bytes = DecodeBase64(png);
  if (!bytes.ok()) return;  // a preview is no reason to end a job
  run_->shown.preview_png = *std::move(bytes);
  run_->shown.preview_step = static_cast<int>(NumberOf(message, "step").value_or(0));
  events_.Add(run_->shown.id, "preview", {{"step", run_->shown.preview_step}, {"png", png}});
}

void JobRunner::HearDone(std::unique_lock<std::mutex>& lock, const Json& result) {
  Count(result);
  Json images = Json::array();
  for (const Json& image : result.value("images", Json::array())) {
    images.push_back({{"path", TextOf(image, "path")}, {"sha256", TextOf(image, "sha256")}});
  }
  Outcome outcome;
  outcome.end = {.state = JobState::kDone,
                 .plan = result.value("plan", Json()),
                 .record = result,
                 .num_deaths = run_->job.row.num_deaths};
  outcome.event = {{"images", images}};
  run_->outcome = std::move(outcome);
  Settle(lock);
}

// Totals of ServiceState.
void JobRunner::Count(const Json& result) {
  const Json measured = result.value("measured", Json::object());
  for (const Json& phase : measured.value("phases", Json::array())) {
    const std::string name = TextOf(phase, "name");
    auto at = std::ranges::find(totals_.phase_s, name, &std::pair<std::string, double>::first);
    if (at == totals_.phase_s.end()) at = totals_.phase_s.insert(at, {name, 0});
    at->second += phase.value("seconds", 0.0);
    totals_.streamed_bytes += phase.value("streamed_bytes", int64_t{0});
    totals_.stalled_s += phase.value("stalled_s", 0.0);
  }
  const double peak = measured.value("peak_ram_bytes", 0.0);
  const double planned = result.value("plan", Json::object()).value("peak_ram_bytes", 0.0);
  if (planned > 0) {  // what is kept of earlier jobs stands beside the plan
    const double kept = measured.value("kept_bytes", 0.0);
    totals_.max_peak_over_plan = std::max(totals_.max_peak_over_plan, peak / (planned + kept));
  }
}

void JobRunner::HearDeath(const WorkerDeath& death) {
  events_.Add("", "worker",
              {{"alive", false}, {"reason", death.reason}, {"counted", death.own_making}});
  loaded_model_.clear();
  std::unique_lock lock(mutex_);
  RemoveUnwanted();
  if (!run_ || run_->outcome) return;
  if (run_->is_unwanted()) {
    End(lock, JobState::kCancelled, Status());
    return;
  }
  const int num_deaths = run_->job.row.num_deaths + (death.own_making ? 1 : 0);
  run_->job.row.num_deaths = num_deaths;
  if (num_deaths >= kMaxDeaths) {
    End(lock, JobState::kQuarantined,
        Unavailable("worker: expected to live through the job, found that it died {} times, the "
                    "last time of: {}",
                    num_deaths, death.reason));
    return;
  }
  Outcome outcome{.requeues = true, .memory_bytes = run_->job.memory_bytes};
  outcome.end.num_deaths = num_deaths;
  if (death.own_making && run_->job.row.plan.is_object()) {
    // Of the memory that the device computes in.
    const Json& plan = run_->job.row.plan;
    const int64_t vram = NumberOf(plan, "peak_vram_bytes").value_or(0);
    const std::optional<int64_t> peak = vram > 0 ? vram : NumberOf(plan, "peak_ram_bytes");
    if (peak) outcome.memory_bytes = *peak - *peak / 4;
  }
  outcome.event = {
      {"reason", death.reason}, {"counted", death.own_making}, {"num_deaths", num_deaths}};
  run_->outcome = std::move(outcome);
  Settle(lock);
}

JobRunner::Clock::time_point JobRunner::End(std::unique_lock<std::mutex>& lock, JobState state,
                                            const Status& fault) {
  Outcome outcome{.event = Json::object()};
  outcome.end = {.state = state, .num_deaths = run_->job.row.num_deaths};
  if (state != JobState::kCancelled) {
    outcome.end.error = fault.message();
    outcome.end.error_code = Name(fault.code());
    outcome.event = FaultToJson(fault);
  }
  unwanted_ = run_->job.paths;
  RemoveUnwanted();
  run_->outcome = std::move(outcome);
  Settle(lock);
  return run_ ? run_->settle_after : Clock::now();
}

void JobRunner::RemoveUnwanted() {
  std::error_code ignored;
  for (const fs::path& path : unwanted_) fs::remove(path, ignored);
  if (!worker_is_doomed_ || !worker_->alive()) unwanted_.clear();
}

void JobRunner::Settle(std::unique_lock<std::mutex>& lock) {
  const Outcome& outcome = *run_->outcome;
  const std::string id = run_->job.row.id;
  lock.unlock();  // others read meanwhile; only this thread changes the run
  const Status written = outcome.requeues ? queue_.Requeue(id, kWorkerName, outcome.end.num_deaths,
                                                           outcome.memory_bytes)
                                          : queue_.Finish(id, kWorkerName, outcome.end);
  lock.lock();
  const bool lost = written.code() == StatusCode::kNotFound;
  if (!written.ok() && !lost) {
    run_->settle_after = Clock::now() + kQueueRetry;
    return;
  }
  const std::string type = outcome.requeues ? "requeued" : std::string(Name(outcome.end.state));
  Json event = outcome.event;
  if (!outcome.requeues && !lost) CountEndLocked(outcome.end.state);
  run_.reset();
  claim_after_ = Clock::time_point();
  if (!lost) events_.Add(id, type, std::move(event));
  run_changed_.notify_all();
  worker_->Wake();
}

void JobRunner::CountEnd(JobState state) {
  const std::lock_guard lock(mutex_);
  CountEndLocked(state);
}
void JobRunner::CountEndLocked(JobState state) {
  switch (state) {
    case JobState::kDone:
      ++totals_.num_done;
      return;
    case JobState::kFailed:
      ++totals_.num_failed;
      return;
    case JobState::kCancelled:
      ++totals_.num_cancelled;
      return;
    case JobState::kQuarantined:
      ++totals_.num_quarantined;
      return;
    case JobState::kQueued:
    case JobState::kRunning:
      return;
  }
}

}  // namespace ingot
