#include "jobs/worker.h"

#include <malloc.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <cstdlib>
#include <deque>
#include <functional>
#include <mutex>
#include <optional>
#include <stop_token>
#include <thread>
#include <utility>
#include <vector>

#include "base/base64.h"
#include "base/sha256.h"
#include "engine/engine.h"
#include "engine/files.h"
#include "engine/questions.h"
#include "engine/refusal.h"
#include "jobs/worker_protocol.h"

namespace ingot {
namespace {

constexpr int kNiceOfJobs = 5;

// Files whose headers stay: of one job, as its plan counts them; of questions, of all the folder.
constexpr size_t kFilesOfJob = 4, kFilesOfQuestions = 256;

namespace fs = std::filesystem;

// Calls `tell` from a thread of its own: soon after each step, and twice a second, so that a chart
// moves within steps; ten times a second at most, so that no log fills.
class MemoryTeller {
 public:
  explicit MemoryTeller(std::function<void()> tell)
      : tell_(std::move(tell)), thread_([this](std::stop_token stop) { Run(stop); }) {}

  void EndStep() {
    const std::lock_guard lock(mutex_);
    has_step_ = true;
    changed_.notify_one();
  }

 private:
  static constexpr std::chrono::milliseconds kInterval{500}, kLeastInterval{100};

  void Run(std::stop_token stop) {
    std::unique_lock lock(mutex_);
    while (true) {
      changed_.wait_for(lock, stop, kInterval, [&] { return has_step_; });
      if (stop.stop_requested()) return;
      has_step_ = false;
      lock.unlock();
      tell_();
      lock.lock();
      changed_.wait_for(lock, stop, kLeastInterval, [] { return false; });
    }
  }

  const std::function<void()> tell_;
  std::mutex mutex_;
  std::condition_variable_any changed_;
  bool has_step_ = false;
  std::jthread thread_;  // last: uses all of the above
};

class Worker {
 public:
  explicit Worker(int socket) : stream_(socket) {}

  Status Run() {
    INGOT_ASSIGN_OR_RETURN(const Json start, stream_.Receive());
    models_dir_ = TextOf(start, "models_dir");
    INGOT_RETURN_IF_ERROR(OpenEngine(start));
    INGOT_RETURN_IF_ERROR(stream_.Send({{"type", "ready"}}));
    std::thread([this] { Listen(); }).detach();
    while (true) Handle(NextTask());
  }

 private:
  struct Task {
    Json message;
    std::stop_source stop, interrupt;  // of a run
  };

  // The engine of jobs keeps weights for the next one, and measures the machine before the first.
  // That of questions knows what the other has measured: it would do so beside a job.
  Status OpenEngine(const Json& start) {
    const bool runs_jobs = TextOf(start, "role") == "jobs";
    // A job takes all cores for minutes; whoever asks how far it is gets an answer before it.
    if (runs_jobs) static_cast<void>(::nice(kNiceOfJobs));
    EngineOptions options{
        .num_threads = static_cast<size_t>(NumberOf(start, "num_threads").value_or(1)),
        .keep_weights = runs_jobs,
        .keep_tokenizers = !runs_jobs,
        .measures_rates = runs_jobs};
    options.device = DeviceFromJson(start);
    INGOT_ASSIGN_OR_RETURN(Engine engine, Engine::Open(options));
    engine_.emplace(std::move(engine));
    files_ = OpenModelFiles(runs_jobs ? kFilesOfJob : kFilesOfQuestions);
    if (runs_jobs) engine_->MeasureRates();
    return {};
  }

  // The thread that reads: what must not wait for a job acts here. Ends the process with the
  // stream, also in the middle of a step.
  void Listen() {
    while (true) {
      Result<Json> message = stream_.Receive();
      if (!message.ok()) {
        std::_Exit(message.status().code() == StatusCode::kUnavailable ? EXIT_SUCCESS
                                                                       : EXIT_FAILURE);
      }
      const std::string type = TextOf(*message, "type");
      const std::lock_guard lock(mutex_);
      if (type == "cancel" || type == "interrupt") {
        if (TextOf(*message, "id") != running_id_) continue;
        (type == "cancel" ? running_stop_ : running_interrupt_).request_stop();
        continue;
      }
      Task task{.message = *std::move(message)};
      if (type == "run") {
        running_id_ = TextOf(task.message, "id");
        running_stop_ = task.stop;
        running_interrupt_ = task.interrupt;
      }
      tasks_.push_back(std::move(task));
      has_task_.notify_one();
    }
  }

  Task NextTask() {
    std::unique_lock lock(mutex_);
    has_task_.wait(lock, [&] { return !tasks_.empty(); });
    Task task = std::move(tasks_.front());
    tasks_.pop_front();
    return task;
  }

  void Handle(const Task& task) {
    const std::string type = TextOf(task.message, "type");
    if (type == "run") {
      const std::string id = TextOf(task.message, "id");
      const Result<JobResult> result = RunJob(id, task);
      // A death of the job's own making: it is tried again in a new process, with a smaller plan.
      if (!result.ok() && engine_->device_is_lost()) std::_Exit(kDeviceLostExit);
      Json report = result.ok() ? Json{{"type", "done"}, {"id", id}, {"result", ToJson(*result)}}
                                : Json{{"type", "failed"}, {"id", id}};
      if (!result.ok()) report.update(FaultToJson(result.status()));
      Report(report);
    } else if (type == "ask") {
      Result<Json> answer = Answer(TextOf(task.message, "question"), task.message["argument"]);
      Json report = {{"type", "answer"}, {"number", task.message["number"]}};
      if (answer.ok()) {
        report["answer"] = *std::move(answer);
      } else {
        report.update(FaultToJson(answer.status()));
      }
      Report(report);
      ::malloc_trim(0);  // what a plan took
    } else if (type == "forget") {
      engine_->Forget();
      files_ = OpenModelFiles(kFilesOfJob);
    } else if (type == "budget") {
      KeepWithin(NumberOf(task.message, "memory_bytes"));
    }
  }

  // The server is gone when this fails; Listen sees it as well.
  void Report(const Json& message) { static_cast<void>(stream_.Send(message)); }

  // A smaller budget acts on what is kept at once; the job after it has its own plan.
  void KeepWithin(std::optional<int64_t> memory_bytes) {
    if (memory_bytes && engine_->kept_bytes() > *memory_bytes) engine_->Forget();
  }

  static BudgetFlags BudgetOf(const Json& message) {
    return {.memory_bytes = NumberOf(message, "memory_bytes"),
            .beside_bytes = NumberOf(message, "beside_bytes").value_or(0),
            .forge_inference_memory = NumberOf(message, "forge_inference_memory")};
  }

  Result<JobResult> RunJob(const std::string& id, const Task& task) {
    const Json& message = task.message;
    INGOT_ASSIGN_OR_RETURN(const JobRequest request,
                           JobRequestFromJson(message["job"], models_dir_));
    INGOT_ASSIGN_OR_RETURN(const Job job, ResolveJob(request, &files_));
    BudgetFlags budget = BudgetOf(message);
    // After a death the budget is a wish: the smallest plan is taken where none is that small.
    if (const std::optional<int64_t> wish = NumberOf(message, "shrunk_bytes")) {
      INGOT_ASSIGN_OR_RETURN(budget, engine_->Shrink(job, budget, *wish));
    }
    std::vector<fs::path> paths;
    for (const Json& path : message["paths"]) paths.emplace_back(path.get<std::string>());
    if (paths.size() != static_cast<size_t>(job.batch)) {
      return InvalidArgument("job: expected {} pictures, found names for {}", job.batch,
                             paths.size());
    }
    RunCounters counters;
    RunOptions options = OptionsOf(message, std::move(paths), budget, task.stop);
    options.counters = &counters;
    options.interrupt = task.interrupt.get_token();
    options.on_plan = [&](const Plan& plan) {
      Report({{"type", "plan"}, {"id", id}, {"plan", ToJson(plan)}});
    };
    MemoryTeller teller([&] { TellMemory(id, counters); });
    options.progress = [&](const JobProgress& progress) {
      Tell(id, progress);
      teller.EndStep();
    };
    return engine_->Run(job, options);
  }

  static RunOptions OptionsOf(const Json& message, std::vector<fs::path> paths,
                              const BudgetFlags& budget, const std::stop_source& stop) {
    const std::string scratch_folder = TextOf(message, "scratch_folder");
    return {.paths = std::move(paths),
            .budget = budget,
            .scratch_folder = scratch_folder.empty() ? kDefaultScratchFolder : scratch_folder,
            .embeddings_folder = TextOf(message, "embedding_cache"),
            .stop = stop.get_token()};
  }

  void Tell(const std::string& id, const JobProgress& progress) {
    Report({{"type", "progress"},
            {"id", id},
            {"phase", progress.phase},
            {"step", progress.step},
            {"num_steps", progress.num_steps}});
    if (progress.preview == nullptr) return;
    const Preview& preview = *progress.preview;
    const Result<std::string> png = PngBytes(preview.width, preview.height, preview.pixels);
    if (!png.ok()) return;  // out of memory at the most: the picture matters more
    Report({{"type", "preview"}, {"id", id}, {"step", progress.step}, {"png", EncodeBase64(*png)}});
  }

  void TellMemory(const std::string& id, const RunCounters& counters) {
    const MemoryInUse memory = engine_->ReadMemoryInUse();
    Report({{"type", "memory"},
            {"id", id},
            {"ram_bytes", memory.ram_bytes},
            {"vram_bytes", memory.vram_bytes},
            {"kept_bytes", counters.kept_bytes.load()},
            {"kept_vram_bytes", counters.kept_vram_bytes.load()},
            {"streamed_bytes", counters.streamed_bytes.load()},
            {"stalled_s", counters.stalled_s.load()},
            {"num_ops", counters.num_ops.load()}});
  }

  Result<Json> Answer(const std::string& question, const Json& argument) {
    if (!argument.is_object()) {
      return InvalidArgument("{}: expected an object, found none", question);
    }
    if (question == "resolve" || question == "plan") {
      INGOT_ASSIGN_OR_RETURN(
          const JobRequest request,
          JobRequestFromJson(argument.value("request", Json::object()), models_dir_));
      INGOT_ASSIGN_OR_RETURN(const Job job, ResolveJob(request, &files_));
      if (question == "resolve") return Json{{"job", ToJson(job)}};
      const BudgetFlags flags = BudgetOf(argument);
      INGOT_ASSIGN_OR_RETURN(const Budget budget, engine_->ReadBudget(flags));
      std::vector<JobChange> changes;
      const Result<Plan> plan = engine_->PlanJob(job, flags, &changes);
      if (!plan.ok() && changes.empty()) return plan.status();
      Json answer = {
          {"job", ToJson(job)},
          {"plan", plan.ok() ? ToJson(*plan) : Json()},
          {"budget", {{"ram_bytes", budget.ram_bytes}, {"ram_limited_by", budget.ram_limited_by}}}};
      if (!plan.ok()) answer["refusal"] = ToJson(plan.status(), changes);
      return answer;
    }
    if (question == "models") return ListModels(models_dir_, files_);
    if (question == "inspect") {
      INGOT_ASSIGN_OR_RETURN(const ModelFile model, OpenModelFile(TextOf(argument, "path")));
      return Inspection(model);
    }
    if (question == "tokens") {
      ModelRequest models{.models_dir = models_dir_};
      if (const std::string model = TextOf(argument, "model"); !model.empty()) {
        models.model = model;
      }
      return CountTokens(TextOf(argument, "prompt"), models);
    }
    if (question == "hash") return HashOn(TextOf(argument, "path"));
    return InvalidArgument(
        "question: expected resolve, plan, models, inspect, tokens or hash, found '{}'", question);
  }

  // A piece of the file's hash: what is asked next waits for it.
  Result<Json> HashOn(const std::string& path) {
    constexpr std::chrono::milliseconds kPiece(20);
    if (!hashing_ || hashing_->file().path() != path) {
      INGOT_ASSIGN_OR_RETURN(std::shared_ptr<const File> file, File::Open(path));
      if (const std::optional<std::string> known = RememberedSha256(*file, HashFolder())) {
        return Json{{"sha256", *known}};  // a job was faster
      }
      hashing_.emplace(std::move(file));
    }
    Result<std::optional<std::string>> sha256 = hashing_->Continue(kPiece);
    if (sha256.ok() && !*sha256) return Json{{"sha256", nullptr}};
    if (sha256.ok()) RememberSha256(hashing_->file(), HashFolder(), **sha256);
    hashing_.reset();
    INGOT_RETURN_IF_ERROR(sha256.status());
    return Json{{"sha256", **sha256}};
  }

  MessageStream stream_;
  fs::path models_dir_;
  std::optional<Engine> engine_;
  OpenModelFiles files_{kFilesOfJob};
  std::optional<FileSha256> hashing_;  // the file that is under way

  std::mutex mutex_;
  std::condition_variable has_task_;
  std::deque<Task> tasks_;
  std::string running_id_;  // the last run that was asked for
  std::stop_source running_stop_, running_interrupt_;
};

}  // namespace

Status RunWorker(int socket) { return Worker(socket).Run(); }

}  // namespace ingot
