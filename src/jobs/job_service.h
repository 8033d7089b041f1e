// What the server knows of jobs: accepted ones are on disk, an engine in another process runs them.
//
//   const auto service = *JobService::Open({.data_dir = "data", .models_dir = "models"});
//   const JobRow job = *service->Submit({.request = {{"prompt", "a red house"}}});
//
// Thread-safe. Constructs no engine: what needs headers, tokenizers or a plan is asked of a worker.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "engine/engine.h"
#include "engine/json.h"
#include "jobs/job_row.h"

namespace ingot {

// Of the memory of all, what is not for the engine that runs jobs: server and planner. Measured: a
// server at rest 5 MiB, a planner at work on FLUX.1 dev at 2048x2048 28 MiB; the rest is for
// clients. tests/jobs/jobs_test.py holds both to it.
inline constexpr int64_t kServerShareBytes = 128 << 20;

struct JobServiceOptions {
  std::filesystem::path data_dir;  // queue.sqlite, outputs/, caches; made if absent
  std::filesystem::path models_dir;
  std::filesystem::path worker_binary;   // run as `BINARY worker`
  std::optional<int64_t> memory_bytes;   // of server and workers together; unset: the machine's
  std::filesystem::path scratch_folder;  // RunOptions
  size_t num_threads = 1;                // of the engine
  DeviceOptions device = {};             // EngineOptions
  // A worker that is silent for so long while it runs a job is killed, and the death counted.
  double watchdog_s = 600;
  double keep_removed_s = 600;  // how long Restore brings back what Remove took away
};

struct Submission {
  Json request;     // JobRequestFromJson
  Json door_state;  // kept with the job for the door that answers: never read here
  std::string client;
  std::string idempotency_key;  // of this client; empty: none
  int priority = 0;             // higher first, then first come, first served
  // Forge's hint (memory/budget.h); belongs to the job, changes no bit of it.
  std::optional<int64_t> forge_inference_memory;
  // Where the pictures go below data_dir/outputs, as Forge names them: "txt2img-images" and
  // "[date]/[number]-[seed].png".
  std::string output_folder = "txt2img-images";
};

// One thing that happened. Ids rise by one and begin anew, higher, with each start of the server.
struct JobEvent {
  uint64_t id = 0;
  std::string job_id;  // empty: of the service as a whole
  // "queued", "started", "plan", "phase", "step", "preview", "memory", "moved", "requeued", "done",
  // "failed", "cancelled", "quarantined", "removed", "restored"; of the service "budget", "hashed",
  // "worker".
  std::string type;
  Json data;
};
using EventSink = std::function<void(const JobEvent&)>;  // quick; on a thread of the service

// Ends the subscription when it goes; no call of the sink runs after that.
class Subscription {
 public:
  virtual ~Subscription() = default;
};

// What a running job holds and has moved.
struct JobMemory {
  int64_t ram_bytes = 0;   // of the worker: its resident set, what it keeps for other jobs included
  int64_t vram_bytes = 0;  // of its device, if that has memory of its own
  int64_t server_rss_bytes = 0;
  // Of ram_bytes and of vram_bytes, for other jobs: beside the plan, within the budget.
  int64_t kept_bytes = 0, kept_vram_bytes = 0;
  int64_t streamed_bytes = 0;  // of weights, so far
  double stalled_s = 0;        // it waited for them so far
};

Json ToJson(const JobMemory& memory);

// Where the running job stands; the last values of its events.
struct RunningJob {
  std::string id;
  std::string phase;
  int step = 0, num_steps = 0;      // of the phase
  double started = 0;               // seconds since the epoch
  double elapsed_s = 0, eta_s = 0;  // since it started; of the phase
  JobMemory memory;
  std::string preview_png;  // bytes; empty: none yet
  int preview_step = 0;
};

struct ServiceState {
  int num_queued = 0;
  std::optional<RunningJob> running;
  bool worker_alive = false;
  // Since the server started.
  int64_t num_worker_starts = 0, num_worker_deaths = 0;
  int64_t num_done = 0, num_failed = 0, num_cancelled = 0, num_quarantined = 0;
  int64_t streamed_bytes = 0;
  double stalled_s = 0;
  std::vector<std::pair<std::string, double>> phase_s;  // seconds by phase, all jobs
  double max_peak_over_plan = 0;
};

struct MemoryState {
  int64_t budget_bytes = 0;        // in force, server's share included
  std::string limited_by;          // "--memory" when it was set
  int64_t machine_bytes = 0;       // what the budget would be unset
  int64_t server_share_bytes = 0;  // of the budget, for everything but the engine
  int64_t server_rss_bytes = 0, worker_rss_bytes = 0, planner_rss_bytes = 0;
};

class JobService {
 public:
  // Opens the queue, re-queues what was running when the server died, starts the workers.
  static Result<std::unique_ptr<JobService>> Open(JobServiceOptions options);
  virtual ~JobService() = default;

  // Answers of the planning worker, also during a step: 3 ms for a plan of the demo model, 25 ms
  // for one of FLUX.1, 0.2 s for the first of it, 0.5 s for its refusal; an argument is an object,
  // and so is the answer:
  //   "resolve" {"request"} -> {"job"}
  //   "plan"    {"request","memory_bytes"?,"forge_inference_memory"?} -> {"job","plan","budget"}
  //   "models"  {} -> {"models":[{"path","sha256","components":[…],"error"}],"sets"…}
  //   "inspect" {"path"} -> as `ingot inspect --json`
  //   "tokens"  {"prompt","model"?} -> {"clip","t5"}
  //   "hash"    {"path"} -> {"sha256"}: null until all of it was read
  virtual Result<Json> Ask(std::string_view question, const Json& argument) = 0;

  // Resolves and plans the request, then writes the job to the queue: it is on disk when this
  // returns. kInvalidArgument and kNotFound for the request, kOutOfBudget when no plan fits (the
  // message has the cheapest change), kUnavailable when it cannot be written or the queue is full.
  // The same key of the same client gives the job that it made before.
  virtual Result<JobRow> Submit(const Submission& submission) = 0;

  virtual Result<JobRow> Get(std::string_view id) = 0;  // kNotFound
  virtual Result<JobPage> List(const JobFilter& filter) = 0;
  // Jobs before it in the queue; 0 when it is next or not queued.
  virtual Result<int> Position(std::string_view id) = 0;

  // A queued job at once, a running one within 300 ms; of an ended one nothing. kNotFound.
  virtual Status Cancel(std::string_view id) = 0;
  // Ends the running job with the pictures of its batch that are sampled by now (Forge's
  // interrupt): it is done, and its record says "interrupted". Without any it is cancelled. Whether
  // one ran.
  virtual bool Interrupt() = 0;
  virtual Status Move(std::string_view id,
                      const JobMove& move) = 0;  // kInvalidArgument: not queued
  // Of an ended job: row and pictures are gone for all, and end after keep_removed_s unless they
  // are restored; a restart changes nothing of that.
  virtual Status Remove(std::string_view id) = 0;
  virtual Status Restore(std::string_view id) = 0;  // kNotFound when it is too late

  // A picture of a done job made small (jobs/thumbnails.h), as PNG.
  virtual Result<std::string> Thumbnail(std::string_view id, size_t n, int side) = 0;

  // Events of `job_id` after `last_event_id` that are still known.
  virtual std::vector<JobEvent> PastEvents(std::string_view job_id, uint64_t last_event_id) = 0;

  // All events of `job_id` (empty: all) after `last_event_id` that are still known, then new ones.
  virtual std::unique_ptr<Subscription> Subscribe(std::string_view job_id, uint64_t last_event_id,
                                                  EventSink sink) = 0;

  virtual ServiceState State() = 0;  // quick: what pollers ask
  virtual MemoryState Memory() = 0;  // reads some files of the kernel: 0.5 ms
  // From the next job on, and for what is kept between jobs at once; unset: the machine decides.
  virtual Status SetMemory(std::optional<int64_t> memory_bytes) = 0;
  virtual Status Forget() = 0;  // all that the engine keeps between jobs (unload-checkpoint)

  // Small values that survive a restart, by name ("options").
  virtual Result<std::optional<Json>> Load(std::string_view name) = 0;
  virtual Status Store(std::string_view name, const Json& value) = 0;
};

}  // namespace ingot
