// A Flux job as phases: clip, t5, hoist, sampling, decode.
#pragma once

#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <stop_token>
#include <string_view>

#include "devices/copy_engine.h"
#include "graph/passes/hoist.h"
#include "library/tokenizers.h"
#include "memory/budget.h"
#include "pipeline/embedding_cache.h"
#include "pipeline/job.h"
#include "pipeline/latent.h"
#include "pipeline/phase.h"
#include "pipeline/phase_run.h"
#include "pipeline/preview.h"
#include "pipeline/record.h"
#include "pipeline/text_conditioning.h"

namespace ingot {

// Where a job stands; called from the thread that runs it.
struct JobProgress {
  std::string_view phase;
  int step = 0;  // done in this phase, of num_steps; a batch counts all its pictures
  int num_steps = 0;
  const Preview* preview = nullptr;  // of a step of sampling, until the callback returns
};
using ProgressCallback = std::function<void(const JobProgress&)>;

// What a run uses beside its plan.
struct RunContext {
  Device& device;
  std::filesystem::path scratch_folder = {};   // of pictures that the plan puts on disk
  const EmbeddingCache* embeddings = nullptr;  // prompts that it knows are not encoded
  // Weights of sampling and decode and the hoisted rows come from here where they are there, and
  // stay here as far as the budget has room beside each phase: the rows in RAM, the weights where
  // the device computes.
  KeptMemory* kept = nullptr;
  KeptMemory* kept_on_device = nullptr;  // if it has memory of its own
  RunCounters* counters = nullptr;
  ProgressCallback progress = {};
  std::stop_token stop = {};
  std::stop_token interrupt = {};  // samples no more: what is sampled is decoded, if there is some
};

class FluxPipeline {
 public:
  // Tokenizes the prompts and compiles every network: each fault of a header,
  // a shape or a prompt is found here, before any tensor is read. `device` outlives this.
  // The tokenizers are of `tokenizers` where they are given, and go with this call otherwise. What
  // `earlier`, of the same device, has tokenized and compiled is taken over where this job's would
  // be the same; the rest of it goes before anything is compiled.
  static Result<FluxPipeline> Prepare(const Job& job, const Device& device,
                                      Tokenizers* tokenizers = nullptr,
                                      std::optional<FluxPipeline> earlier = std::nullopt);

  // The same job at another size or with other pictures, to be prepared in less time; not after
  // FitTo has made a plan.
  Status Reshape(int width, int height, int batch);

  // The least peak in RAM with which the job can run; and on the device, if it has memory of its
  // own. Compiles every way of every phase: not after FitTo has made a plan.
  struct Least {
    int64_t ram_bytes = 0, vram_bytes = 0;
  };
  Least FindLeast();

  // Makes the plan: the fastest within the budget. kOutOfBudget below the least. vram_bytes counts
  // where the device has memory of its own. The plan has seconds where `rates` are given, and is
  // otherwise the same.
  Status FitTo(const Budget& budget, const std::optional<DeviceRates>& rates = {});
  Status FitTo(int64_t ram_bytes) { return FitTo(Budget{.ram_bytes = ram_bytes}); }
  const Plan& plan() const { return plan_; }

  // Runs the plan on the device that it was made for. Where other programs have taken of a device's
  // memory since, a phase runs in less (with the same bits), as long as there is a way; else
  // kUnavailable. kNotFinite names the phase and the file when NaN or Inf comes out.
  Result<Record> Run(const RunContext& context);

 private:
  friend class FluxPipelinePeer;  // pipeline_golden_test.cc compares what each phase gives

  struct Conditioning {         // of one prompt
    std::vector<float> pooled;  // [vec_in_dim]
    std::vector<float> txt;     // [text tokens, context_in_dim]
    // What the transformer needs of them, one a crossing: a row for each evaluation of a group, or
    // the one value that serves them all.
    std::vector<std::vector<float>> hoisted;
    size_t group = SIZE_MAX;  // that `hoisted` holds
  };

  FluxPipeline(const Job& job, const Device& device) : job_(job), device_(&device) {}
  Status Tokenize(Tokenizers* tokenizers);
  // Name all that tokens and compiled networks depend on.
  std::string PromptsKey() const;
  std::string EncodersKey() const;
  std::string PicturesKey() const;
  // And the plan, where it is that of this job.
  void TakeNetworks(FluxPipeline& earlier);
  Status CompileEncoders();
  // What depends on the size.
  Status CompilePictures();
  // Cuts the transformer in two: hoist_ computes what `group_rows` evaluations need; flux_ is the
  // same for all groups.
  Status CompileTransformer(int64_t group_rows);
  // All phases with groups of group_rows_; whether they fit is told by the code.
  Status FitPhases();
  // Of a phase that carries `carried`, for all that stands where it computes.
  Phase::Room Room(int64_t carried) const;
  Status KeepWeights();
  void HoldInRam();
  void MakePlan(const DeviceRates* rates);  // null: without seconds
  int64_t num_groups() const;
  void ReadFixedBytes();
  int64_t fixed_bytes() const;  // of the process itself, with what a device's driver takes of it
  Least LeastOfGroups();        // with groups of group_rows_
  // In RAM, on a device with memory of its own: of the chosen ways, or of those with the least
  // there.
  int64_t HostPeak() const;
  int64_t LeastHostPeak();
  // With these bytes of the phases, with what they carry and the process.
  int64_t PeakOf(int64_t clip, int64_t t5, int64_t hoist, int64_t flux, int64_t vae) const;
  // What each phase holds beside its arena: embeddings, hoisted rows, latents, pictures.
  struct Carried {
    int64_t t5 = 0, hoist = 0, sampling = 0, decode = 0;
  };
  Carried carried() const;

  // Names all that the hoisted rows depend on.
  std::string RowsKey() const;
  Result<bool> TakeRows(KeptMemory& kept, const std::string& key,
                        std::vector<Conditioning>& conds) const;
  void KeepRows(KeptMemory& kept, const std::string& key, std::vector<Conditioning>& conds) const;

  Status EncodeClip(const RunContext& context, std::vector<Conditioning>& conds,
                    PhaseMeasure& measure);
  Status EncodeT5(const RunContext& context, std::vector<Conditioning>& conds,
                  PhaseMeasure& measure);
  // The rows of one group of evaluations.
  Status HoistGroup(Execution& hoist, size_t group, Conditioning& cond, std::stop_token stop) const;
  Status HoistAll(const RunContext& context, std::vector<Conditioning>& conds,
                  PhaseMeasure& measure);
  Status SamplePictures(const RunContext& context, std::vector<Conditioning>& conds,
                        std::vector<std::vector<float>>& latents, PhaseMeasure& measure);
  Status DecodePictures(const RunContext& context, const std::vector<std::vector<float>>& latents,
                        std::vector<Picture>& pictures, PhaseMeasure& measure);

  // Begins what was chosen for `phase`, which carries `carried_bytes`; sampling and decode take
  // kept weights and leave theirs. `beside` stands on the device with it.
  Result<PhaseRun> Begin(Phase& phase, int64_t carried_bytes, const RunContext& context,
                         bool keeps_weights = false, const Phase* beside = nullptr) const;

  Job job_;
  const Device* device_;
  std::vector<float> sigmas_;
  std::vector<float> evaluations_;  // sigma of every call of the transformer, in order
  int64_t group_rows_ = 0;          // evaluations that one run of hoist_ computes
  LatentShape latent_shape_{};
  std::string prompts_key_;
  std::vector<PromptTokens> prompts_;  // the prompt; with CFG also the negative one
  std::optional<Phase> clip_, t5_, hoist_, flux_, vae_;
  std::vector<Hoisted::Crossing> crossings_;  // from hoist_ to flux_
  bool has_vram_ = false;
  FixedBytes fixed_;  // of the device, when the plan was made
  // Of the plan, if there is one.
  bool has_plan_ = false;
  Budget budget_;
  std::optional<DeviceRates> rates_;
  Plan plan_;
};

}  // namespace ingot
