#include "jobs/job_service.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <condition_variable>
#include <cstring>
#include <fstream>
#include <mutex>
#include <utility>

#include "base/base64.h"
#include "base/system_memory.h"
#include "jobs/event_log.h"
#include "jobs/model_hasher.h"
#include "jobs/picture_paths.h"
#include "jobs/planner.h"
#include "jobs/removed_jobs.h"
#include "jobs/sqlite_queue.h"
#include "jobs/supervisor.h"

namespace ingot {
namespace {

namespace fs = std::filesystem;
using Clock = WorkerSupervisor::Clock;
using std::chrono::milliseconds;

// The lease's holder; one worker runs jobs.
constexpr const char* kWorkerName = "local";

// A job that brought its worker down so often is not tried again.
constexpr int kMaxDeaths = 2;

// The engine ends a job within some 30 ms. What it does not look up from (a plan of a large model,
// the last write of a picture) is ended by force, so that the 300 ms of a cancellation hold.
constexpr milliseconds kCancelPatience(200);

constexpr milliseconds kQueueRetry(500);        // after it could not be read or written
constexpr std::chrono::seconds kRenew(10);      // between heartbeats
constexpr std::chrono::seconds kCancelWait(5);  // of who cancels, while the queue is locked

double Now() {
  return std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count();
}

double SecondsSince(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

struct ResidentSet {
  int64_t num_bytes = 0, anonymous_bytes = 0;
};

// Nothing of a process that has gone.
ResidentSet ReadResidentSet(pid_t pid) {
  if (pid == 0) return {};
  std::ifstream file(fmt::format("/proc/{}/statm", pid));
  int64_t size = 0, resident = 0, shared = 0;
  if (!(file >> size >> resident >> shared)) return {};
  const int64_t page_bytes = ::sysconf(_SC_PAGESIZE);
  return {resident * page_bytes, (resident - shared) * page_bytes};
}

// Held while the process lives: two servers on one queue would run every job twice.
class FolderLock {
 public:
  FolderLock() = default;
  FolderLock(const FolderLock&) = delete;
  FolderLock& operator=(const FolderLock&) = delete;
  ~FolderLock() {
    if (descriptor_ >= 0) ::close(descriptor_);
  }
  Status Take(const fs::path& path) {
    descriptor_ = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0666);
    if (descriptor_ < 0) {
      return Unavailable("{}: expected a file that can be made, found: {}", path.string(),
                         std::strerror(errno));
    }
    if (::flock(descriptor_, LOCK_EX | LOCK_NB) != 0) {
      return Unavailable("{}: expected no other server on this folder, found one", path.string());
    }
    return {};
  }

 private:
  int descriptor_ = -1;
};

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
};

class Service final : public JobService {
 public:
  explicit Service(JobServiceOptions options)
      : options_(std::move(options)), memory_bytes_(options_.memory_bytes) {}

  ~Service() override {
    hasher_.reset();  // asks the planner
    if (runner_) runner_->Stop();
  }

  Status Open() {
    INGOT_RETURN_IF_ERROR(CheckMemory(options_.memory_bytes));
    if (::access(options_.worker_binary.c_str(), X_OK) != 0) {
      return NotFound("{}: expected the program of the worker, found: {}",
                      options_.worker_binary.string(), std::strerror(errno));
    }
    std::error_code error;
    options_.data_dir = fs::absolute(options_.data_dir);
    options_.models_dir = fs::absolute(options_.models_dir);
    fs::create_directories(options_.data_dir, error);
    if (error) {
      return Unavailable("{}: expected a folder that can be made, found: {}",
                         options_.data_dir.string(), error.message());
    }
    INGOT_RETURN_IF_ERROR(lock_.Take(options_.data_dir / "server.lock"));
    INGOT_ASSIGN_OR_RETURN(queue_, OpenSqliteQueue(options_.data_dir / "queue.sqlite"));
    thumbnails_ = std::make_unique<Thumbnails>(options_.data_dir / "thumbnails");
    removed_ = std::make_unique<RemovedJobs>(*queue_, *thumbnails_, options_.keep_removed_s);
    StartWorkers();
    return {};
  }

  Result<Json> Ask(std::string_view question, const Json& argument) override {
    if (question != "plan") {
      Result<Json> answer = planner_->Ask(question, argument);
      if (question == "models" && answer.ok()) hasher_->Hear(*answer);
      return answer;
    }
    const std::optional<int64_t> given = NumberOf(argument, "memory_bytes");
    INGOT_RETURN_IF_ERROR(CheckMemory(given));
    const UsableMemory memory = Memory();
    Json planned = argument;
    planned["memory_bytes"] = given.value_or(memory.num_bytes) - kServerShareBytes;
    planned["beside_bytes"] = kServerShareBytes;
    INGOT_ASSIGN_OR_RETURN(Json answer, planner_->Ask(question, planned));
    if (!given) answer["budget"]["ram_limited_by"] = memory.limited_by;
    return answer;
  }

  Result<JobRow> Submit(const Submission& submission) override {
    INGOT_RETURN_IF_ERROR(CheckOutputFolder(submission.output_folder));
    if (!submission.idempotency_key.empty()) {
      INGOT_ASSIGN_OR_RETURN(std::optional<JobRow> earlier,
                             queue_->FindByKey(submission.client, submission.idempotency_key));
      if (earlier) return *std::move(earlier);
    }
    Json argument = {{"request", submission.request}};
    if (submission.forge_inference_memory) {
      argument["forge_inference_memory"] = *submission.forge_inference_memory;
    }
    INGOT_ASSIGN_OR_RETURN(const Json answer, Ask("plan", argument));
    if (const auto refusal = answer.find("refusal"); refusal != answer.end()) {
      return OutOfBudget("{}", TextOf(*refusal, "message"));
    }
    QueuedJob job{.idempotency_key = submission.idempotency_key,
                  .output_folder = submission.output_folder,
                  .forge_inference_memory = submission.forge_inference_memory};
    job.row.priority = submission.priority;
    job.row.client = submission.client;
    job.row.door_state = submission.door_state;
    job.row.job = answer.value("job", Json());
    job.row.plan = answer.value("plan", Json());
    INGOT_ASSIGN_OR_RETURN(JobRow row, queue_->Add(job));
    events_.Add(row.id, "queued", {{"priority", row.priority}, {"client", row.client}});
    runner_->Wake();
    return row;
  }

  Result<JobRow> Get(std::string_view id) override {
    INGOT_ASSIGN_OR_RETURN(JobRow row, queue_->Get(id));
    TakePlanOfRun(row);
    return row;
  }
  Result<JobPage> List(const JobFilter& filter) override {
    INGOT_ASSIGN_OR_RETURN(JobPage page, queue_->List(filter));
    for (JobRow& row : page.jobs) TakePlanOfRun(row);
    return page;
  }
  Result<int> Position(std::string_view id) override { return queue_->Position(id); }

  Status Cancel(std::string_view id) override {
    const Clock::time_point deadline = Clock::now() + kCancelWait;
    // A job may begin, or be queued again, between two looks.
    while (true) {
      INGOT_ASSIGN_OR_RETURN(const bool was_queued, queue_->CancelQueued(id));
      if (was_queued) {
        CountEnd(JobState::kCancelled);
        events_.Add(id, "cancelled", Json::object());
        return {};
      }
      INGOT_ASSIGN_OR_RETURN(const JobRow row, queue_->Get(id));
      if (IsEnded(row.state)) return {};
      if (Clock::now() >= deadline) {
        return Unavailable("job {}: expected to end, found that its end cannot be written", row.id);
      }
      std::unique_lock lock(mutex_);
      if (run_ && run_->job.row.id == id) {
        run_->cancel_wanted = true;
        runner_->Wake();
        run_changed_.wait_until(lock, deadline, [&] { return !run_ || run_->job.row.id != id; });
      } else {
        run_changed_.wait_for(lock, milliseconds(5));
      }
    }
  }

  bool Interrupt() override {
    const std::lock_guard lock(mutex_);
    if (!run_) return false;
    (HasPictures(*run_) ? run_->interrupt_wanted : run_->cancel_wanted) = true;
    runner_->Wake();
    return true;
  }

  Status Move(std::string_view id, const JobMove& move) override {
    INGOT_RETURN_IF_ERROR(queue_->Move(id, move));
    INGOT_ASSIGN_OR_RETURN(const JobRow row, queue_->Get(id));
    INGOT_ASSIGN_OR_RETURN(const int position, queue_->Position(id));
    events_.Add(row.id, "moved", {{"priority", row.priority}, {"position", position}});
    return {};
  }

  Status Remove(std::string_view id) override {
    INGOT_ASSIGN_OR_RETURN(const JobRow row, queue_->Remove(id));
    events_.Add(row.id, "removed", Json::object());
    return {};
  }

  Status Restore(std::string_view id) override {
    INGOT_ASSIGN_OR_RETURN(const JobRow row, queue_->Restore(id));
    events_.Add(row.id, "restored", Json::object());
    return {};
  }

  Result<std::string> Thumbnail(std::string_view id, size_t n, int side) override {
    INGOT_ASSIGN_OR_RETURN(const JobRow row, queue_->Get(id));
    return thumbnails_->Get(row, n, side);
  }

  std::vector<JobEvent> PastEvents(std::string_view job_id, uint64_t last_event_id) override {
    return events_.Past(job_id, last_event_id);
  }

  std::unique_ptr<Subscription> Subscribe(std::string_view job_id, uint64_t last_event_id,
                                          EventSink sink) override {
    return events_.Subscribe(job_id, last_event_id, std::move(sink));
  }

  ServiceState State() override {
    const UsableMemory machine = MachineMemory();
    const UsableMemory memory = Memory(machine);
    ServiceState state;
    {
      const std::lock_guard lock(mutex_);
      state = totals_;
      if (run_) {
        state.running = run_->shown;
        state.running->elapsed_s = SecondsSince(run_->clock_started);
      }
    }
    // A queue that cannot be read has told its users so elsewhere.
    const Result<int> num_queued = queue_->CountQueued();
    state.num_queued = num_queued.ok() ? *num_queued : 0;
    state.worker_alive = runner_->alive();
    state.server_rss_bytes = ReadResidentSet(::getpid()).num_bytes;
    state.worker_rss_bytes = ReadResidentSet(runner_->pid()).num_bytes;
    state.planner_rss_bytes = ReadResidentSet(planner_->pid()).num_bytes;
    state.memory_bytes = memory.num_bytes;
    state.server_share_bytes = kServerShareBytes;
    state.memory_limited_by = memory.limited_by;
    state.machine_bytes = machine.num_bytes;
    state.num_worker_starts = runner_->num_starts();
    state.num_worker_deaths = runner_->num_deaths();
    return state;
  }

  Status SetMemory(std::optional<int64_t> memory_bytes) override {
    INGOT_RETURN_IF_ERROR(CheckMemory(memory_bytes));
    {
      const std::lock_guard lock(mutex_);
      memory_bytes_ = memory_bytes;
    }
    const UsableMemory memory = Memory();
    // A worker that is not there keeps nothing.
    static_cast<void>(runner_->Send(
        {{"type", "budget"}, {"memory_bytes", memory.num_bytes - kServerShareBytes}}));
    events_.Add("", "budget",
                {{"memory_bytes", memory.num_bytes}, {"limited_by", memory.limited_by}});
    return {};
  }

  Status Forget() override {
    static_cast<void>(runner_->Send({{"type", "forget"}}));  // as above
    return {};
  }

  Result<std::optional<Json>> Load(std::string_view name) override { return queue_->Load(name); }
  Status Store(std::string_view name, const Json& value) override {
    return queue_->Store(name, value);
  }

 private:
  // The queue has that of the job's acceptance until it ends.
  void TakePlanOfRun(JobRow& row) {
    const std::lock_guard lock(mutex_);
    if (run_ && run_->job.row.id == row.id) row.plan = run_->job.row.plan;
  }

  static bool IsUnwanted(const Run& run) { return run.cancel_wanted || run.interrupt_wanted; }

  // Whether one of the batch is sampled: steps count all of its pictures.
  static bool HasPictures(const Run& run) {
    const RunningJob& shown = run.shown;
    if (shown.phase == "decode" || shown.phase == "save") return true;
    const int64_t batch = NumberOf(run.job.row.job, "batch").value_or(1);
    return shown.phase == "sampling" && shown.num_steps > 0 &&
           shown.step * batch >= shown.num_steps;
  }

  static Status CheckMemory(std::optional<int64_t> memory_bytes) {
    if (!memory_bytes || *memory_bytes > kServerShareBytes) return {};
    return InvalidArgument("memory: expected more than the server's own {} bytes, found {}",
                           kServerShareBytes, *memory_bytes);
  }

  // Of server and workers together.
  UsableMemory Memory() { return Memory(MachineMemory()); }
  UsableMemory Memory(const UsableMemory& machine) {
    const std::lock_guard lock(mutex_);
    if (memory_bytes_) return {.num_bytes = *memory_bytes_, .limited_by = "--memory"};
    return machine;
  }

  // Without a budget. What the workers hold is theirs to hold again.
  UsableMemory MachineMemory() {
    const Result<UsableMemory> usable = ReadUsableMemory();
    if (!usable.ok()) return {.limited_by = usable.status().message()};
    return {.num_bytes = usable->num_bytes + ReadResidentSet(runner_->pid()).anonymous_bytes +
                         ReadResidentSet(planner_->pid()).anonymous_bytes,
            .limited_by = usable->limited_by};
  }

  Json StartMessage(const char* role) const {
    Json message = {{"type", "start"},
                    {"role", role},
                    {"num_threads", options_.num_threads},
                    {"models_dir", options_.models_dir.string()}};
    if (options_.sim) {
      message["sim"] = {{"vram_bytes", options_.sim->vram_bytes},
                        {"link_bytes_per_s", options_.sim->link_bytes_per_s}};
    }
    return message;
  }

  void StartWorkers() {
    // Its plans must be those of the worker: as many threads, of which none has work.
    const auto kernel_kills = std::make_shared<KernelKills>();
    planner_ = std::make_unique<Planner>(
        WorkerSupervisor::Options{options_.worker_binary, StartMessage("questions"), kernel_kills});
    runner_ = std::make_unique<WorkerSupervisor>(
        WorkerSupervisor::Options{options_.worker_binary, StartMessage("jobs"), kernel_kills},
        WorkerSupervisor::Callbacks{
            .on_ready = [this] { HearReady(); },
            .on_message = [this](const Json& message) { Hear(message); },
            .on_death = [this](const WorkerDeath& death) { HearDeath(death); },
            .on_turn = [this] { return TakeTurn(); }});
    hasher_ = std::make_unique<ModelHasher>(ModelHasher::Callbacks{
        .ask = [this](std::string_view question,
                      const Json& argument) { return planner_->Ask(question, argument); },
        .is_idle =
            [this] {
              const std::lock_guard lock(mutex_);
              return !run_;
            },
        .on_hash =
            [this](const std::string& path, const std::string& sha256) {
              events_.Add("", "hashed", {{"path", path}, {"sha256", sha256}});
            }});
    started_ = true;
  }

  // --- On the thread of the runner's supervisor. ---

  void HearReady() {
    worker_is_doomed_ = false;
    events_.Add("", "worker", {{"alive", true}});
  }

  Clock::time_point TakeTurn() {
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

  // Of a run that goes on: cancels, looks at the clock, keeps the lease.
  Clock::time_point Watch(std::unique_lock<std::mutex>& lock) {
    const Clock::time_point now = Clock::now();
    const auto patience = std::chrono::duration_cast<Clock::duration>(
        std::chrono::duration<double>(options_.watchdog_s));
    const std::string id = run_->job.row.id;
    if (run_->interrupt_wanted && !run_->interrupt_sent) {
      run_->interrupt_sent = true;
      static_cast<void>(runner_->Send({{"type", "interrupt"}, {"id", id}}));  // dead: as good
    }
    if (run_->cancel_wanted && !run_->cancel_sent) {
      run_->cancel_sent = now;
      static_cast<void>(runner_->Send({{"type", "cancel"}, {"id", id}}));  // dead: as good
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
      const Status lease = queue_->Renew(run_->job.row.id, kWorkerName);
      if (lease.code() == StatusCode::kNotFound) run_->cancel_wanted = true;
    }
    Clock::time_point next = std::min(run_->last_sign + patience, run_->renewed + kRenew);
    if (run_->cancel_sent) next = std::min(next, *run_->cancel_sent + kCancelPatience);
    return run_->cancel_wanted && !run_->cancel_sent ? now : next;
  }

  // No job goes to a worker that is about to die.
  void Doom(std::string reason, bool counted) {
    worker_is_doomed_ = true;
    runner_->Kill(std::move(reason), counted);
  }

  void Begin(std::unique_lock<std::mutex>& lock) {
    claim_after_ = Clock::time_point::max();
    lock.unlock();
    Result<std::optional<QueuedJob>> claimed = queue_->Claim(kWorkerName, loaded_model_);
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

  // Names the pictures and hands the job to the worker.
  Status Dispatch(QueuedJob& job) {
    if (job.paths.empty()) {
      INGOT_ASSIGN_OR_RETURN(
          job.paths, ChoosePicturePaths(*queue_, options_.data_dir / "outputs" / job.output_folder,
                                        job.row.job));
      INGOT_RETURN_IF_ERROR(queue_->SetPaths(job.row.id, job.paths));
    }
    INGOT_RETURN_IF_ERROR(MakeFolders(job.paths));
    Json paths = Json::array();
    for (const fs::path& path : job.paths) paths.push_back(path.string());
    Json message = {{"type", "run"},
                    {"id", job.row.id},
                    {"job", job.row.job},
                    {"paths", paths},
                    {"memory_bytes", Memory().num_bytes - kServerShareBytes},
                    {"beside_bytes", kServerShareBytes},
                    {"scratch_folder", options_.scratch_folder.string()},
                    {"embedding_cache", (options_.data_dir / "embeddings").string()}};
    if (job.memory_bytes) message["shrunk_bytes"] = *job.memory_bytes;
    if (job.forge_inference_memory) {
      message["forge_inference_memory"] = *job.forge_inference_memory;
    }
    events_.Add(job.row.id, "started", {{"num_deaths", job.row.num_deaths}});
    // A worker that has just died says so at the end of its stream.
    static_cast<void>(runner_->Send(message));
    if (const Json files = job.row.job.value("files", Json::object()); files.is_object()) {
      loaded_model_ = TextOf(files, "diffusion");
    }
    return {};
  }

  void Hear(const Json& message) {
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
      const bool cancelled = IsUnwanted(*run_) && fault.code() == StatusCode::kCancelled;
      End(lock, cancelled ? JobState::kCancelled : JobState::kFailed, fault);
    }
  }

  void HearProgress(const Json& message) {
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
  void HearMemory(const Json& message) {
    const int64_t num_ops = NumberOf(message, "num_ops").value_or(0);
    if (num_ops > run_->num_ops) run_->last_sign = Clock::now();
    run_->num_ops = num_ops;
    JobMemory& memory = run_->shown.memory;
    memory = {.ram_bytes = NumberOf(message, "ram_bytes").value_or(0),
              .vram_bytes = NumberOf(message, "vram_bytes").value_or(0),
              .server_rss_bytes = ReadResidentSet(::getpid()).num_bytes,
              .kept_bytes = NumberOf(message, "kept_bytes").value_or(0),
              .streamed_bytes = NumberOf(message, "streamed_bytes").value_or(0),
              .stalled_s = message.value("stalled_s", 0.0)};
    Json event = {{"phase", run_->shown.phase}, {"elapsed_s", SecondsSince(run_->clock_started)}};
    event.update(ToJson(memory));
    events_.Add(run_->shown.id, "memory", std::move(event));
  }

  void HearPreview(const Json& message) {
    const std::string png = TextOf(message, "png");
    Result<std::string> bytes = DecodeBase64(png);
    if (!bytes.ok()) return;  // a preview is no reason to end a job
    run_->shown.preview_png = *std::move(bytes);
    run_->shown.preview_step = static_cast<int>(NumberOf(message, "step").value_or(0));
    events_.Add(run_->shown.id, "preview", {{"step", run_->shown.preview_step}, {"png", png}});
  }

  void HearDone(std::unique_lock<std::mutex>& lock, const Json& result) {
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
  void Count(const Json& result) {
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

  void HearDeath(const WorkerDeath& death) {
    events_.Add("", "worker",
                {{"alive", false}, {"reason", death.reason}, {"counted", death.own_making}});
    loaded_model_.clear();
    std::unique_lock lock(mutex_);
    RemoveUnwanted();
    if (!run_ || run_->outcome) return;
    if (IsUnwanted(*run_)) {
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
    const std::optional<int64_t> peak = run_->job.row.plan.is_object()
                                            ? NumberOf(run_->job.row.plan, "peak_ram_bytes")
                                            : std::nullopt;
    if (death.own_making && peak) outcome.memory_bytes = *peak - *peak / 4;
    outcome.event = {
        {"reason", death.reason}, {"counted", death.own_making}, {"num_deaths", num_deaths}};
    run_->outcome = std::move(outcome);
    Settle(lock);
  }

  // The run ends without pictures.
  Clock::time_point End(std::unique_lock<std::mutex>& lock, JobState state, const Status& fault) {
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

  // Pictures of a batch that did not become whole.
  void RemoveUnwanted() {
    std::error_code ignored;
    for (const fs::path& path : unwanted_) fs::remove(path, ignored);
    if (!worker_is_doomed_ || !runner_->alive()) unwanted_.clear();
  }

  // Writes the outcome; where the queue does not take it, the run stays and is settled later.
  void Settle(std::unique_lock<std::mutex>& lock) {
    const Outcome& outcome = *run_->outcome;
    const std::string id = run_->job.row.id;
    lock.unlock();  // others read meanwhile; only this thread changes the run
    const Status written =
        outcome.requeues
            ? queue_->Requeue(id, kWorkerName, outcome.end.num_deaths, outcome.memory_bytes)
            : queue_->Finish(id, kWorkerName, outcome.end);
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
    runner_->Wake();
  }

  void CountEnd(JobState state) {
    const std::lock_guard lock(mutex_);
    CountEndLocked(state);
  }
  void CountEndLocked(JobState state) {
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

  JobServiceOptions options_;
  FolderLock lock_;
  std::unique_ptr<JobQueue> queue_;
  std::unique_ptr<Thumbnails> thumbnails_;
  std::unique_ptr<RemovedJobs> removed_;
  EventLog events_;

  std::mutex mutex_;
  std::condition_variable run_changed_;
  std::optional<int64_t> memory_bytes_;
  ServiceState totals_;     // what it counts; the rest is read when it is asked for
  std::optional<Run> run_;  // made, changed and ended by the runner's thread

  // Of the runner's thread alone.
  std::string loaded_model_;
  bool worker_is_doomed_ = false;
  Clock::time_point claim_after_ = Clock::time_point();
  std::vector<fs::path> unwanted_;

  std::atomic<bool> started_ = false;  // all below are there
  std::unique_ptr<Planner> planner_;
  std::unique_ptr<WorkerSupervisor> runner_;
  std::unique_ptr<ModelHasher> hasher_;
};

}  // namespace

Json ToJson(const JobMemory& memory) {
  return {{"ram_bytes", memory.ram_bytes},
          {"vram_bytes", memory.vram_bytes},
          {"server_rss_bytes", memory.server_rss_bytes},
          {"kept_bytes", memory.kept_bytes},
          {"streamed_bytes", memory.streamed_bytes},
          {"stalled_s", memory.stalled_s}};
}

Result<std::unique_ptr<JobService>> JobService::Open(JobServiceOptions options) {
  auto service = std::make_unique<Service>(std::move(options));
  INGOT_RETURN_IF_ERROR(service->Open());
  return std::unique_ptr<JobService>(std::move(service));
}

}  // namespace ingot
