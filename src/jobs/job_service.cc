#include "jobs/job_service.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <algorithm>
#include <bit>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <mutex>
#include <thread>
#include <utility>

#include "base/system_memory.h"
#include "jobs/event_log.h"
#include "jobs/job_runner.h"
#include "jobs/model_hasher.h"
#include "jobs/picture_paths.h"
#include "jobs/planner.h"
#include "jobs/removed_jobs.h"
#include "jobs/resident_set.h"
#include "jobs/sqlite_queue.h"

namespace ingot {
namespace {

namespace fs = std::filesystem;
using Clock = std::chrono::steady_clock;

constexpr std::chrono::seconds kCancelWait(5);  // of who cancels, while the queue is locked

// Held while the process lives: two servers on one queue would run every job twice. One that was
// killed while it started a worker holds it for some ms more, until that has begun.
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
    constexpr int kNumTries = 20;
    for (int i = 0; i < kNumTries; ++i) {
      if (::flock(descriptor_, LOCK_EX | LOCK_NB) == 0) return {};
      std::this_thread::sleep_for(std::chrono::milliseconds(25));
    }
    return Unavailable("{}: expected no other server on this folder, found one", path.string());
  }

 private:
  int descriptor_ = -1;
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
    const UsableMemory memory = Budget();
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
    runner_->TakePlanOfRun(row);
    return row;
  }
  Result<JobPage> List(const JobFilter& filter) override {
    INGOT_ASSIGN_OR_RETURN(JobPage page, queue_->List(filter));
    for (JobRow& row : page.jobs) runner_->TakePlanOfRun(row);
    return page;
  }
  Result<int> Position(std::string_view id) override { return queue_->Position(id); }

  Status Cancel(std::string_view id) override {
    const Clock::time_point deadline = Clock::now() + kCancelWait;
    // A job may begin, or be queued again, between two looks.
    while (true) {
      INGOT_ASSIGN_OR_RETURN(const bool was_queued, queue_->CancelQueued(id));
      if (was_queued) {
        runner_->CountEnd(JobState::kCancelled);
        events_.Add(id, "cancelled", Json::object());
        return {};
      }
      INGOT_ASSIGN_OR_RETURN(const JobRow row, queue_->Get(id));
      if (IsEnded(row.state)) return {};
      if (Clock::now() >= deadline) {
        return Unavailable("job {}: expected to end, found that its end cannot be written", row.id);
      }
      runner_->Cancel(id, deadline);
    }
  }

  bool Interrupt() override { return runner_->Interrupt(); }

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
    ServiceState state = runner_->State();
    // A queue that cannot be read has told its users so elsewhere.
    const Result<int> num_queued = queue_->CountQueued();
    state.num_queued = num_queued.ok() ? *num_queued : 0;
    return state;
  }

  MemoryState Memory() override {
    const UsableMemory machine = MachineMemory();
    const UsableMemory budget = GivenBudget().value_or(machine);
    return {.budget_bytes = budget.num_bytes,
            .limited_by = budget.limited_by,
            .machine_bytes = machine.num_bytes,
            .server_share_bytes = kServerShareBytes,
            .server_rss_bytes = ReadResidentSet(::getpid()).num_bytes,
            .worker_rss_bytes = ReadResidentSet(runner_->worker_pid()).num_bytes,
            .planner_rss_bytes = ReadResidentSet(planner_->pid()).num_bytes};
  }

  Status SetMemory(std::optional<int64_t> memory_bytes) override {
    INGOT_RETURN_IF_ERROR(CheckMemory(memory_bytes));
    {
      const std::lock_guard lock(mutex_);
      memory_bytes_ = memory_bytes;
    }
    const UsableMemory memory = Budget();
    runner_->SendBudget(memory.num_bytes - kServerShareBytes);
    events_.Add("", "budget",
                {{"memory_bytes", memory.num_bytes}, {"limited_by", memory.limited_by}});
    return {};
  }

  Status Forget() override {
    runner_->Forget();
    return {};
  }

  Result<std::optional<Json>> Load(std::string_view name) override { return queue_->Load(name); }
  Status Store(std::string_view name, const Json& value) override {
    return queue_->Store(name, value);
  }

 private:
  static Status CheckMemory(std::optional<int64_t> memory_bytes) {
    if (!memory_bytes || *memory_bytes > kServerShareBytes) return {};
    return InvalidArgument("memory: expected more than the server's own {} bytes, found {}",
                           kServerShareBytes, *memory_bytes);
  }

  // Of server and workers together.
  UsableMemory Budget() {
    const std::optional<UsableMemory> given = GivenBudget();
    return given ? *given : MachineMemory();
  }
  std::optional<UsableMemory> GivenBudget() {
    const std::lock_guard lock(mutex_);
    if (!memory_bytes_) return std::nullopt;
    return UsableMemory{.num_bytes = *memory_bytes_, .limited_by = "--memory"};
  }

  // Without a budget. What the workers hold is theirs to hold again. Rounded down, by 2 % at the
  // most: the plan that was asked for is the one that runs, though some MiB come and go meanwhile.
  UsableMemory MachineMemory() {
    const Result<UsableMemory> usable = ReadUsableMemory();
    if (!usable.ok()) return {.limited_by = usable.status().message()};
    const int64_t num_bytes = usable->num_bytes +
                              ReadResidentSet(runner_->worker_pid()).anonymous_bytes +
                              ReadResidentSet(planner_->pid()).anonymous_bytes;
    const auto grain = std::max<int64_t>(
        1, static_cast<int64_t>(std::bit_floor(static_cast<uint64_t>(num_bytes)) / 64));
    return {.num_bytes = num_bytes / grain * grain, .limited_by = usable->limited_by};
  }

  Json StartMessage(const char* role) const {
    Json message = {{"type", "start"},
                    {"role", role},
                    {"num_threads", options_.num_threads},
                    {"models_dir", options_.models_dir.string()}};
    message.update(DeviceToJson(options_.device));
    return message;
  }

  void StartWorkers() {
    // Its plans must be those of the worker: as many threads, of which none has work.
    const auto kernel_kills = std::make_shared<KernelKills>();
    planner_ = std::make_unique<Planner>(
        WorkerSupervisor::Options{options_.worker_binary, StartMessage("questions"), kernel_kills});
    runner_ = std::make_unique<JobRunner>(
        *queue_, events_,
        JobRunnerOptions{
            .data_dir = options_.data_dir,
            .scratch_folder = options_.scratch_folder,
            .watchdog_s = options_.watchdog_s,
            .worker = {options_.worker_binary, StartMessage("jobs"), kernel_kills},
            .memory_bytes = [this] { return Budget().num_bytes - kServerShareBytes; }});
    runner_->Start();
    hasher_ = std::make_unique<ModelHasher>(ModelHasher::Callbacks{
        .ask = [this](std::string_view question,
                      const Json& argument) { return planner_->Ask(question, argument); },
        .is_idle = [this] { return runner_->is_idle(); },
        .on_hash =
            [this](const std::string& path, const std::string& sha256) {
              events_.Add("", "hashed", {{"path", path}, {"sha256", sha256}});
            }});
  }

  JobServiceOptions options_;
  FolderLock lock_;
  std::unique_ptr<JobQueue> queue_;
  std::unique_ptr<Thumbnails> thumbnails_;
  std::unique_ptr<RemovedJobs> removed_;
  EventLog events_;

  std::mutex mutex_;
  std::optional<int64_t> memory_bytes_;

  std::unique_ptr<Planner> planner_;
  std::unique_ptr<JobRunner> runner_;
  std::unique_ptr<ModelHasher> hasher_;
};

}  // namespace

Json ToJson(const JobMemory& memory) {
  return {{"ram_bytes", memory.ram_bytes},
          {"vram_bytes", memory.vram_bytes},
          {"server_rss_bytes", memory.server_rss_bytes},
          {"kept_bytes", memory.kept_bytes},
          {"kept_vram_bytes", memory.kept_vram_bytes},
          {"streamed_bytes", memory.streamed_bytes},
          {"stalled_s", memory.stalled_s}};
}

Result<std::unique_ptr<JobService>> JobService::Open(JobServiceOptions options) {
  auto service = std::make_unique<Service>(std::move(options));
  INGOT_RETURN_IF_ERROR(service->Open());
  return std::unique_ptr<JobService>(std::move(service));
}

}  // namespace ingot
