#include "engine/engine.h"

#include <malloc.h>

#include <algorithm>
#include <cstdlib>
#include <future>
#include <utility>

#include "base/sha256.h"
#include "base/stopwatch.h"
#include "base/system_memory.h"
#include "devices/cpu/cpu_device.h"
#include "engine/files.h"
#include "engine/rates.h"
#include "engine/refusal.h"
#include "engine/trace_file.h"
#include "formats/png.h"
#include "pipeline/infotext.h"
#include "runtime/scratch_file.h"

namespace ingot {
namespace {

namespace fs = std::filesystem;

// Of a process that makes a plan, before it knows what the job will take.
constexpr int64_t kPreparingBytes = 48 << 20;

// Makes the file and drops it: what cannot be saved is found before the work.
Status CheckWritable(const fs::path& path) {
  const fs::path folder = path.has_parent_path() ? path.parent_path() : fs::path(".");
  std::error_code ignored;
  if (!fs::is_directory(folder, ignored)) {
    return InvalidArgument("{}: expected a folder to write to, found none", folder.string());
  }
  return AtomicFile::Create(path).status();
}

// Makes the file of the plan's largest scratch and drops it, for the same reason.
Status CheckScratch(const Plan& plan, const fs::path& folder) {
  int64_t num_bytes = 0;
  for (const PhasePlan& phase : plan.phases) num_bytes = std::max(num_bytes, phase.scratch_bytes);
  return num_bytes == 0 ? Status() : ScratchFile::Create(folder, num_bytes).status();
}

Result<SavedPicture> Save(const Picture& picture, const std::string& infotext,
                          const fs::path& path) {
  PngPicture png{.width = picture.width,
                 .height = picture.height,
                 .pixels = picture.pixels,
                 .texts = {{"parameters", infotext}}};
  INGOT_ASSIGN_OR_RETURN(const std::vector<std::byte> bytes, EncodePng(png));
  INGOT_ASSIGN_OR_RETURN(const std::unique_ptr<AtomicFile> file, AtomicFile::Create(path));
  INGOT_RETURN_IF_ERROR(file->Write(bytes));
  INGOT_RETURN_IF_ERROR(file->Commit());
  return SavedPicture{.path = fs::absolute(path),
                      .seed = picture.seed,
                      .sha256 = Sha256(std::as_bytes(std::span(picture.pixels))),
                      .infotext = infotext};
}

}  // namespace

std::string_view NameOf(const DeviceOptions& device) {
  if (std::holds_alternative<CudaOptions>(device)) return "cuda";
  return std::holds_alternative<SimOptions>(device) ? "sim" : "cpu";
}

Status CheckDevice(const DeviceOptions& device) {
  const auto* cuda = std::get_if<CudaOptions>(&device);
  return cuda != nullptr ? OpenCudaDevice(*cuda).status() : Status();
}

Result<Engine> Engine::Open(const EngineOptions& options) {
  // Large vectors in mappings of their own, that go back to the system at once: by default the
  // threshold rises with the first that is freed.
  ::mallopt(M_MMAP_THRESHOLD, 128 << 10);
  INGOT_ASSIGN_OR_RETURN(
      std::unique_ptr<Device> device,
      OpenCpuDevice(
          {.num_threads = options.num_threads,
           .kernels = options.reference_kernels ? CpuKernels::kReference : CpuKernels::kFast,
           .target = options.cpu_target}));
  Engine engine(options);
  if (options.keep_tokenizers) engine.tokenizers_ = std::make_unique<Tokenizers>();
  engine.device_ = std::move(device);
  if (const auto* sim = std::get_if<SimOptions>(&options.device)) {
    engine.cpu_ = std::move(engine.device_);
    engine.device_ = std::make_unique<SimDevice>(*engine.cpu_, *sim);
  } else if (const auto* cuda = std::get_if<CudaOptions>(&options.device)) {
    CudaOptions known = *cuda;
    known.fixed = FindFixedBytes(CudaGpuName(), RatesFolder()).value_or(cuda->fixed);
    INGOT_ASSIGN_OR_RETURN(engine.device_, OpenCudaDevice(known));
  }
  if (options.keep_weights) {
    engine.kept_ = std::make_unique<KeptMemory>();
    if (engine.device_->copy_engine() != nullptr) {
      engine.kept_on_device_ = std::make_unique<KeptMemory>();
    }
  }
  return engine;
}

void Engine::Forget() {
  if (kept_) kept_->Forget();
  if (kept_on_device_) kept_on_device_->Forget();
  pipeline_.reset();
  ::malloc_trim(0);
}

MemoryInUse Engine::ReadMemoryInUse() const {
  const CopyEngine* copies = std::as_const(*device_).copy_engine();
  MemoryInUse memory{.vram_bytes = copies != nullptr ? copies->UsedBytes() : 0};
  // Where the kernel does not tell: 0.
  if (const Result<ProcessMemory> process = ReadProcessMemory(); process.ok()) {
    memory.ram_bytes = process->resident_bytes - (cpu_ ? memory.vram_bytes : 0);
  }
  return memory;
}

std::optional<DeviceRates> Engine::ComputeRates(bool may_measure) const {
  // Of a GPU nothing is measured yet: its plans tell no seconds.
  if (options_.reference_kernels || std::holds_alternative<CudaOptions>(options_.device)) {
    return std::nullopt;
  }
  if (!rates_) {
    rates_ = FindRates(cpu_ ? *cpu_ : *device_, options_.num_threads, RatesFolder(),
                       may_measure && options_.measures_rates);
  }
  return rates_;
}

std::optional<DeviceRates> Engine::Rates(const Job& job, bool may_measure) {
  if (!ComputeRates(may_measure)) return std::nullopt;
  const File& file = job.models.flux.tensors.file->file();
  if (read_file_ != file.identity()) {
    rates_->reads = FindReadRates(cpu_ ? *cpu_ : *device_, file, RatesFolder(),
                                  may_measure && options_.measures_rates);
    if (rates_->reads != kUnmeasuredReads) read_file_ = file.identity();
  }
  std::optional<DeviceRates> rates = rates_;
  if (const CopyEngine* copies = std::as_const(*device_).copy_engine()) {
    rates->copies.bytes_per_s = copies->LinkBytesPerSecond();
    rates->reads.bytes_per_s = std::min(rates->reads.bytes_per_s, rates->copies.bytes_per_s);
  }
  return rates;
}

Status Engine::Prepare(const Job& job, const BudgetFlags& flags,
                       const std::optional<DeviceRates>& rates, std::vector<JobChange>* changes) {
  INGOT_ASSIGN_OR_RETURN(const Budget budget, ReadBudget(flags));
  const int64_t trace_bytes = device_->trace() != nullptr ? Trace::num_bytes() : 0;
  INGOT_ASSIGN_OR_RETURN(FluxPipeline pipeline,
                         FluxPipeline::Prepare(job, *device_, tokenizers_.get(),
                                               std::exchange(pipeline_, std::nullopt)));
  Budget without_trace = budget;
  without_trace.ram_bytes -= trace_bytes;
  const Status fit = pipeline.FitTo(without_trace, rates);
  if (fit.code() == StatusCode::kOutOfBudget) {
    INGOT_RETURN_IF_ERROR(Refuse(job, budget, trace_bytes, pipeline, changes));
  }
  INGOT_RETURN_IF_ERROR(fit);
  // Tokenizers and compilers have left 10 MiB of free heap, which would stand beside every arena.
  ::malloc_trim(0);
  pipeline_ = std::move(pipeline);
  return {};
}

Status Engine::Refuse(const Job& job, const Budget& budget, int64_t trace_bytes,
                      FluxPipeline& pipeline, std::vector<JobChange>* changes) {
  const JobShape shape = {job.width, job.height, job.batch};
  const auto smallest_peak = [&](int64_t FluxPipeline::Least::*tier, int64_t beside) {
    return [&pipeline, tier, beside](const JobShape& other) -> Result<int64_t> {
      INGOT_RETURN_IF_ERROR(pipeline.Reshape(other.width, other.height, other.batch));
      return pipeline.FindLeast().*tier + beside;
    };
  };
  const FluxPipeline::Least least = pipeline.FindLeast();
  if (const int64_t ram = least.ram_bytes + trace_bytes; ram > budget.ram_bytes) {
    return RefuseJob(shape, ram, budget,
                     smallest_peak(&FluxPipeline::Least::ram_bytes, trace_bytes), changes);
  }
  if (least.vram_bytes <= budget.vram_bytes) return {};
  return RefuseJob(shape, least.vram_bytes, {budget.vram_bytes, "--vram"},
                   smallest_peak(&FluxPipeline::Least::vram_bytes, 0), changes);
}

Result<Budget> Engine::ReadBudget(const BudgetFlags& flags) const {
  const CopyEngine* copies = std::as_const(*device_).copy_engine();
  return ingot::ReadBudget(
      flags, copies != nullptr ? std::optional(copies->AvailableBytes()) : std::nullopt);
}

Result<Plan> Engine::PlanJob(const Job& job, const BudgetFlags& flags,
                             std::vector<JobChange>* changes) {
  INGOT_RETURN_IF_ERROR(Prepare(job, flags, Rates(job, /*may_measure=*/true), changes));
  return pipeline_->plan();
}

Result<BudgetFlags> Engine::Shrink(const Job& job, const BudgetFlags& flags, int64_t num_bytes) {
  pipeline_.reset();
  INGOT_ASSIGN_OR_RETURN(FluxPipeline pipeline, FluxPipeline::Prepare(job, *device_));
  const FluxPipeline::Least least = pipeline.FindLeast();
  const bool has_vram = device_->copy_engine() != nullptr;
  BudgetFlags shrunk = flags;
  std::optional<int64_t>& tier = has_vram ? shrunk.vram_bytes : shrunk.memory_bytes;
  const int64_t most = std::max(num_bytes, has_vram ? least.vram_bytes : least.ram_bytes);
  tier = std::min(most, tier.value_or(most));
  return shrunk;
}

Result<JobResult> Engine::Run(const Job& job, const RunOptions& options) {
  if (options.trace_path.empty()) return RunJob(job, options);
  INGOT_RETURN_IF_ERROR(CheckWritable(options.trace_path));
  Trace trace;
  device_->set_trace(&trace);
  Result<JobResult> result = RunJob(job, options);
  device_->set_trace(nullptr);
  const Status written = WriteTrace(trace, options.trace_path);
  if (!result.ok()) return result;
  INGOT_RETURN_IF_ERROR(written);
  result->record.plan.fixed_bytes += Trace::num_bytes();
  return result;
}

Status Engine::StartDevice() {
  CopyEngine* copies = device_->copy_engine();
  if (copies == nullptr) return {};
  INGOT_RETURN_IF_ERROR(copies->Start());
  if (std::holds_alternative<CudaOptions>(options_.device)) {
    RememberFixedBytes(CudaGpuName(), copies->fixed_bytes(), RatesFolder());
  }
  return {};
}

Result<JobResult> Engine::RunJob(const Job& job, const RunOptions& options) {
  INGOT_CHECK(options.paths.size() == static_cast<size_t>(job.batch));
  for (const fs::path& path : options.paths) INGOT_RETURN_IF_ERROR(CheckWritable(path));
  INGOT_RETURN_IF_ERROR(StartDevice());
  INGOT_ASSIGN_OR_RETURN(const Budget budget, ReadBudget(options.budget));
  if (kept_) kept_->MakeRoom(budget.ram_bytes - kPreparingBytes, {}, {});
  if (kept_on_device_) kept_on_device_->MakeRoom(budget.vram_bytes, {}, {});
  const std::optional<DeviceRates> rates =
      Rates(job, budget.ram_bytes >= kPreparingBytes + kMeasuringBytes);
  // Where the kernel refuses, the measured peak is that of the process's life.
  static_cast<void>(ResetPeakMemory());
  CopyEngine* copies = device_->copy_engine();
  if (copies != nullptr) copies->ResetPeak();
  INGOT_RETURN_IF_ERROR(Prepare(job, options.budget, rates));
  FluxPipeline& pipeline = *pipeline_;
  INGOT_RETURN_IF_ERROR(CheckScratch(pipeline.plan(), options.scratch_folder));
  if (options.on_plan) options.on_plan(pipeline.plan());

  // "Model hash" needs the whole file: read beside the work the first time, at 1.5 GB/s and more
  // where the processor has SHA instructions.
  std::stop_source stop_hashing;
  std::future<Result<std::string>> hash = std::async(std::launch::async, [&] {
    return CachedSha256OfFile(job.models.flux.tensors.file->file(), HashFolder(),
                              stop_hashing.get_token());
  });
  std::optional<EmbeddingCache> embeddings;
  if (!options.embeddings_folder.empty()) embeddings.emplace(options.embeddings_folder);
  Result<Record> record = pipeline.Run({.device = *device_,
                                        .scratch_folder = options.scratch_folder,
                                        .embeddings = embeddings ? &*embeddings : nullptr,
                                        .kept = kept_.get(),
                                        .kept_on_device = kept_on_device_.get(),
                                        .counters = options.counters,
                                        .progress = options.progress,
                                        .stop = options.stop,
                                        .interrupt = options.interrupt});
  if (!record.ok()) {
    stop_hashing.request_stop();
    return record.status();
  }

  JobResult result{.record = *std::move(record), .images = {}};
  result.is_interrupted = result.record.pictures.size() < options.paths.size();
  if (options.progress) options.progress({.phase = "save"});
  const TracePhase trace(device_->trace(), "save");
  const Stopwatch watch;
  INGOT_ASSIGN_OR_RETURN(const std::string model_hash, hash.get());
  for (size_t i = 0; i < result.record.pictures.size(); ++i) {
    const Picture& picture = result.record.pictures[i];
    INGOT_ASSIGN_OR_RETURN(
        SavedPicture saved,
        Save(picture, MakeInfotext(job, picture.seed, model_hash), options.paths[i]));
    result.images.push_back(std::move(saved));
  }
  result.record.phases.push_back({.name = "save", .seconds = watch.seconds(), .step_s = {}});
  INGOT_ASSIGN_OR_RETURN(const ProcessMemory memory, ReadProcessMemory());
  result.measured_peak_bytes = memory.peak_bytes;
  if (copies != nullptr) {
    result.measured_peak_vram_bytes = copies->PeakBytes();
    if (cpu_) result.measured_peak_bytes -= result.measured_peak_vram_bytes;
  }
  return result;
}

}  // namespace ingot
