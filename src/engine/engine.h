// The public API of Ingot: a job in, its plan or its pictures out.
//
//   Engine engine = *Engine::Open({.num_threads = 2});
//   const Job job = *ResolveJob({.prompt = "a red house", .models = {.models_dir = "models"}});
//   const JobResult result = *engine.Run(job, {.paths = {"house.png"}});
//
// The only place that wires concrete devices.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "base/status.h"
#include "devices/cuda/cuda_device.h"
#include "devices/device.h"
#include "devices/sim/sim_device.h"
#include "memory/budget.h"
#include "memory/explain.h"
#include "memory/plan.h"
#include "pipeline/flux_pipeline.h"
#include "pipeline/job.h"
#include "pipeline/record.h"
#include "runtime/kept_memory.h"
#include "runtime/run_counters.h"

namespace ingot {

struct JobChange;

// Where jobs compute: on the processor, on a GPU simulated over it (the same pixels, with weights
// and activations behind a link), or on a GPU.
struct CpuDeviceOptions {};
using DeviceOptions = std::variant<CpuDeviceOptions, SimOptions, CudaOptions>;
std::string_view NameOf(const DeviceOptions& device);  // as after --device
// Whether Engine::Open would find it.
Status CheckDevice(const DeviceOptions& device);

struct EngineOptions {
  size_t num_threads = 1;
  DeviceOptions device = {};
  // Plain loops in double instead of the fast kernels: slow, the definition.
  bool reference_kernels = false;
  // Weights that are read once and rows that no step changes stay for the next job, as far as its
  // budget has room beside its plan. No plan and no pixel depends on it.
  bool keep_weights = false;
  // Tokenizers of one plan stay for the next: 10 MiB and more that no plan counts.
  bool keep_tokenizers = false;
  // The machine's rates, from which plans predict seconds, are measured where they are not
  // remembered (engine/rates.h): on all threads, so not beside a job of another process.
  bool measures_rates = true;
  std::string cpu_target;  // as INGOT_CPU_TARGET names it; empty: its value, else the best
};

// Large, on a disk, and there on every Linux (FHS); /tmp often lies in memory.
inline constexpr const char* kDefaultScratchFolder = "/var/tmp";

struct RunOptions {
  std::vector<std::filesystem::path> paths;  // one a picture of the batch
  BudgetFlags budget = {};                   // kOutOfBudget before any work when no plan fits
  std::filesystem::path scratch_folder = kDefaultScratchFolder;  // on a disk, not in memory
  // Where embeddings of prompts are kept from job to job; empty: nowhere.
  std::filesystem::path embeddings_folder = {};
  // Where to write what each thread did when (engine/trace_file.h), whether the job ends well or
  // not; empty: nowhere. The trace itself counts as fixed bytes of the plan.
  std::filesystem::path trace_path = {};
  std::function<void(const Plan&)> on_plan = {};  // once, before any tensor is read
  ProgressCallback progress = {};
  RunCounters* counters = nullptr;
  std::stop_token stop = {};
  std::stop_token interrupt = {};  // ends the batch with what is sampled; with nothing: kCancelled
};

struct SavedPicture {
  std::filesystem::path path;  // absolute
  uint64_t seed = 0;
  std::string sha256;    // of the RGB8 pixels
  std::string infotext;  // the picture's "parameters" text
};

struct JobResult {
  Record record;
  std::vector<SavedPicture> images;  // fewer than the batch where it was interrupted
  bool is_interrupted = false;
  // Of the process during the job, as the kernel reports it, without the memory of a simulated
  // device; and on the device.
  int64_t measured_peak_bytes = 0;
  int64_t measured_peak_vram_bytes = 0;
};

// What is held now.
struct MemoryInUse {
  int64_t ram_bytes = 0;   // the process's resident set, without the memory of a simulated device
  int64_t vram_bytes = 0;  // of the device, if it has memory of its own
};

class Engine {
 public:
  static Result<Engine> Open(const EngineOptions& options);

  // What a job may take if it starts now; the machine says what the flags leave open.
  Result<Budget> ReadBudget(const BudgetFlags& flags) const;

  // Measures now what the first plan would, but for reads.
  void MeasureRates() const { static_cast<void>(ComputeRates(true)); }

  // Headers only; no tensor is read but to measure reads once. kOutOfBudget names the shortfall in
  // bytes and what would fit (engine/refusal.h), which `changes` has for programs.
  Result<Plan> PlanJob(const Job& job, const BudgetFlags& flags,
                       std::vector<JobChange>* changes = nullptr);

  // `flags` with at most `num_bytes` for the memory that the device computes in, but no less than
  // PlanJob finds a plan with.
  Result<BudgetFlags> Shrink(const Job& job, const BudgetFlags& flags, int64_t num_bytes);

  // Every fault of files, headers and values is found before any work starts;
  // a picture appears under its name whole or not at all.
  Result<JobResult> Run(const Job& job, const RunOptions& options);

  // Also while a job runs, from another thread.
  MemoryInUse ReadMemoryInUse() const;

  // The job that ended so may do better in another process.
  bool device_is_lost() const { return device_->is_lost(); }

  // What stayed of earlier jobs in RAM; and the end of all that stayed.
  int64_t kept_bytes() const { return kept_ ? kept_->num_bytes() : 0; }
  void Forget();

 private:
  explicit Engine(const EngineOptions& options) : options_(options) {}
  std::optional<DeviceRates> ComputeRates(bool may_measure) const;
  // None where nothing is known of this machine.
  std::optional<DeviceRates> Rates(const Job& job, bool may_measure);
  // pipeline_, with a plan.
  Status Prepare(const Job& job, const BudgetFlags& flags, const std::optional<DeviceRates>& rates,
                 std::vector<JobChange>* changes = nullptr);
  // Why no plan of `pipeline` fits, and what would; leaves it of another shape. OK where the least
  // would fit.
  static Status Refuse(const Job& job, const Budget& budget, int64_t trace_bytes,
                       FluxPipeline& pipeline, std::vector<JobChange>* changes);
  // So that what its driver takes is known to this plan, and to those of other processes.
  Status StartDevice();
  Result<JobResult> RunJob(const Job& job, const RunOptions& options);

  EngineOptions options_;
  std::unique_ptr<Tokenizers> tokenizers_;      // null: they are not kept
  mutable std::optional<DeviceRates> rates_;    // once they are known
  std::string read_file_;                       // whose read rate rates_ has
  std::unique_ptr<Device> cpu_;                 // what a simulated device computes on, else null
  std::unique_ptr<Device> device_;              // where jobs run
  std::unique_ptr<KeptMemory> kept_;            // in RAM; null: nothing is kept
  std::unique_ptr<KeptMemory> kept_on_device_;  // of a device with memory of its own, else null
  // Of the last job: the next one of its shapes compiles nothing. As large as while it ran.
  std::optional<FluxPipeline> pipeline_;
};

}  // namespace ingot
