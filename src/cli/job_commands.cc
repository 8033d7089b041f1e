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

Result<Engine> OpenEngine(const JobFlags& flags) {
  INGOT_ASSIGN_OR_RETURN(const size_t num_threads, NumThreads(flags.threads));
  return Engine::Open({.num_threads = num_threads});
}

Result<BudgetFlags> ParseBudget(const JobFlags& flags) {
  BudgetFlags budget;
  if (!flags.memory.empty()) {
    INGOT_ASSIGN_OR_RETURN(budget.memory_bytes, ParseByteSize(flags.memory));
  }
  return budget;
}

Json ToJson(const Job& job) {
  const ModelSet& models = job.models;
  return {{"prompt", job.prompt},
          {"negative_prompt", job.negative_prompt},
          {"width", job.width},
          {"height", job.height},
          {"steps", job.steps},
          {"batch", job.batch},
          {"seed", job.seed},
          {"sampler", job.sampler->name},
          {"scheduler", job.scheduler->label},
          {"rng", job.rng == Rng::kCpu ? "cpu" : "nv"},
          {"precision", Name(job.precision)},
          {"cfg", job.cfg_scale},
          {"guidance", job.distilled_guidance},
          {"min_text_tokens", job.min_text_tokens},
          {"numerics", kNumericsVersion},
          {"files",
           {{"diffusion", models.flux.path()},
            {"clip", models.clip.path()},
            {"t5", models.t5.path()},
            {"vae", models.vae.path()}}}};
}

Json Measured(const JobResult& result) {
  Json phases = Json::array();
  for (const PhaseMeasure& phase : result.record.phases) {
    phases.push_back({{"name", phase.name},
                      {"seconds", phase.seconds},
                      {"load_s", phase.load_s},
                      {"step_s", phase.step_s},
                      {"streamed_bytes", phase.streamed_bytes},
                      {"stalled_s", phase.stalled_s}});
  }
  return {
      {"peak_ram_bytes", result.measured_peak_bytes}, {"peak_vram_bytes", 0}, {"phases", phases}};
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
  INGOT_ASSIGN_OR_RETURN(Engine engine, OpenEngine(flags));
  INGOT_ASSIGN_OR_RETURN(const Job job, JobFromFlags(flags));
  const std::string output =
      flags.output.empty() ? fmt::format("ingot-{}.png", job.seed) : flags.output;
  Result<JobResult> result = [&] {
    ProgressBar bar;
    return engine.Run(
        job,
        {.path = output,
         .budget = budget_flags,
         .scratch_folder = flags.scratch.empty() ? kDefaultScratchFolder : flags.scratch.c_str(),
         .progress = [&](const JobProgress& p) { bar.Show(p.phase, p.step, p.num_steps); },
         .stop = stop});
  }();
  if (!result.ok()) return result.status();
  if (!flags.json) {
    PrintResult(job, *result);
    return {};
  }
  Json images = Json::array();
  for (const SavedPicture& image : result->images) {
    images.push_back({{"path", image.path.string()}, {"sha256", image.sha256}});
  }
  PrintJson({{"images", images},
             {"job", ToJson(job)},
             {"plan", ToJson(result->record.plan)},
             {"measured", Measured(*result)}});
  return {};
}

Status PlanCommand(const JobFlags& flags) {
  INGOT_ASSIGN_OR_RETURN(const BudgetFlags budget_flags, ParseBudget(flags));
  INGOT_ASSIGN_OR_RETURN(const Engine engine, OpenEngine(flags));
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
