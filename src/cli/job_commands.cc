// `ingot run` and `ingot plan`.
#include <cstdio>
#include <filesystem>

#include "base/byte_size.h"
#include "cli/commands.h"
#include "cli/json.h"
#include "cli/models_dir.h"
#include "cli/plan_view.h"
#include "cli/progress_bar.h"
#include "cli/threads.h"
#include "engine/engine.h"

namespace ingot {
namespace {

std::optional<std::string> IfGiven(const std::string& text) {
  return text.empty() ? std::nullopt : std::optional(text);
}
std::optional<std::filesystem::path> PathIfGiven(const std::string& text) {
  return text.empty() ? std::nullopt : std::optional<std::filesystem::path>(text);
}

Status ParseSize(const std::string& text, JobRequest& request) {
  int width = 0, height = 0, length = 0;
  if (std::sscanf(text.c_str(), "%5dx%5d%n", &width, &height, &length) != 2 ||
      length != static_cast<int>(text.size())) {
    return InvalidArgument("--size: expected WIDTHxHEIGHT such as 1024x768, found '{}'", text);
  }
  request.width = width;
  request.height = height;
  return {};
}

Result<Job> JobFromFlags(const JobFlags& flags) {
  JobRequest request{.prompt = flags.prompt,
                     .negative_prompt = flags.negative,
                     .models = {.models_dir = ModelsDir(flags.models_dir),
                                .model = IfGiven(flags.model),
                                .diffusion = PathIfGiven(flags.diffusion),
                                .clip = PathIfGiven(flags.clip),
                                .t5 = PathIfGiven(flags.t5),
                                .vae = PathIfGiven(flags.vae)},
                     .steps = flags.steps,
                     .batch = flags.batch,
                     .seed = flags.seed,
                     .sampler = IfGiven(flags.sampler),
                     .scheduler = IfGiven(flags.scheduler),
                     .rng = IfGiven(flags.rng),
                     .precision = IfGiven(flags.precision),
                     .cfg_scale = flags.cfg,
                     .distilled_guidance = flags.guidance};
  if (!flags.size.empty()) INGOT_RETURN_IF_ERROR(ParseSize(flags.size, request));
  return ResolveJob(request);
}

Result<BudgetFlags> ParseBudget(const JobFlags& flags) {
  BudgetFlags budget;
  if (!flags.memory.empty()) {
    INGOT_ASSIGN_OR_RETURN(budget.memory_bytes, ParseByteSize(flags.memory));
  }
  return budget;
}

Result<EngineOptions> ParseEngine(const JobFlags& flags) {
  INGOT_ASSIGN_OR_RETURN(const size_t num_threads, NumThreads(flags.threads));
  EngineOptions options = {.num_threads = num_threads};
  INGOT_ASSIGN_OR_RETURN(options.device, ParseDevice(flags.device));
  return options;
}

// `output`; in a batch "stem-SEED.png".
std::vector<std::filesystem::path> PicturePaths(const std::string& output, const Job& job) {
  if (output.empty() && job.batch == 1) return {fmt::format("ingot-{}.png", job.seed)};
  const std::filesystem::path path = output.empty() ? "ingot.png" : output;
  if (job.batch == 1) return {path};
  std::vector<std::filesystem::path> paths;
  for (int i = 0; i < job.batch; ++i) {
    paths.push_back(path);
    paths.back().replace_filename(fmt::format("{}-{}{}", path.stem().string(),
                                              job.seed + static_cast<uint64_t>(i),
                                              path.extension().string()));
  }
  return paths;
}

void PrintPlan(const Job& job, const Plan& plan, const Budget& budget) {
  std::printf("%s, %dx%d, %d steps, %s / %s\n\n%s", job.models.flux.path().c_str(), job.width,
              job.height, job.steps, std::string(job.sampler->name).c_str(),
              std::string(job.scheduler->label).c_str(),
              ShowPlan(plan, budget, TerminalColumns()).c_str());
}

void PrintResult(const Job& job, const JobResult& result) {
  for (const SavedPicture& image : result.images) std::printf("%s\n", image.path.c_str());
  double seconds = 0;
  for (const PhaseMeasure& phase : result.record.phases) seconds += phase.seconds;
  std::printf("seed %llu, %.1f s, peak %s\n", static_cast<unsigned long long>(job.seed), seconds,
              FormatByteSize(result.measured_peak_bytes).c_str());
}

}  // namespace

Status RunCommand(const JobFlags& flags, std::stop_token stop) {
  INGOT_ASSIGN_OR_RETURN(const BudgetFlags budget_flags, ParseBudget(flags));
  INGOT_ASSIGN_OR_RETURN(const EngineOptions options, ParseEngine(flags));
  INGOT_ASSIGN_OR_RETURN(Engine engine, Engine::Open(options));
  INGOT_ASSIGN_OR_RETURN(const Job job, JobFromFlags(flags));
  Result<JobResult> result = [&] {
    ProgressBar bar;
    return engine.Run(
        job,
        {.paths = PicturePaths(flags.output, job),
         .budget = budget_flags,
         .scratch_folder = flags.scratch.empty() ? kDefaultScratchFolder : flags.scratch.c_str(),
         .trace_path = flags.trace,
         .progress = [&](const JobProgress& p) { bar.Show(p.phase, p.step, p.num_steps); },
         .stop = stop});
  }();
  if (!result.ok()) return result.status();
  if (!flags.json) {
    PrintResult(job, *result);
    return {};
  }
  const Json made = ToJson(*result);
  PrintJson({{"images", made["images"]},
             {"job", ToJson(job)},
             {"plan", made["plan"]},
             {"measured", made["measured"]}});
  return {};
}

Status PlanCommand(const JobFlags& flags) {
  INGOT_ASSIGN_OR_RETURN(const BudgetFlags budget_flags, ParseBudget(flags));
  INGOT_ASSIGN_OR_RETURN(EngineOptions options, ParseEngine(flags));
  if (auto* cuda = std::get_if<CudaOptions>(&options.device)) cuda->plans_only = true;
  INGOT_ASSIGN_OR_RETURN(Engine engine, Engine::Open(options));
  INGOT_ASSIGN_OR_RETURN(const Job job, JobFromFlags(flags));
  INGOT_ASSIGN_OR_RETURN(const Plan plan, engine.PlanJob(job, budget_flags));
  if (flags.json) {
    PrintJson({{"job", ToJson(job)}, {"plan", ToJson(plan)}});
  } else {
    INGOT_ASSIGN_OR_RETURN(const Budget budget, engine.ReadBudget(budget_flags));
    PrintPlan(job, plan, budget);
  }
  return {};
}

}  // namespace ingot
