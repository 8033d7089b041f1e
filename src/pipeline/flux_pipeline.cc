#include "pipeline/flux_pipeline.h"

#include <algorithm>
#include <cmath>

#include "base/stopwatch.h"
#include "graph/passes/fuse.h"
#include "graph/passes/split.h"
#include "library/tokenizers.h"
#include "models/flux/flux.h"
#include "runtime/execution.h"
#include "sampling/brownian_tree.h"

namespace ingot {
namespace {

constexpr int64_t kClipTokens = 77;

// The process beside the plan's arenas: code, two vocabularies with their
// tables, threads' stacks, headers. Measured with two threads: 10 MiB with the
// demo's vocabularies, 21 MiB with CLIP's and T5's.
constexpr int64_t kFixedBytes = 24 << 20;

template <typename T>
void Copy(std::span<const T> from, std::span<T> to) {
  INGOT_CHECK(from.size() == to.size());
  std::copy(from.begin(), from.end(), to.begin());
}

Status CheckFinite(std::span<const float> values, std::string_view phase, const Component& from) {
  if (AllFinite(values)) return {};
  return NotFinite("{}: expected finite numbers from {}, found NaN or Inf", phase, from.path());
}

// What the weights of a phase took.
void Measure(const Execution& execution, PhaseMeasure& measure) {
  measure.load_s += execution.stalled_s();
  measure.stalled_s += execution.stalled_s();
  measure.streamed_bytes += execution.streamed_bytes();
}

// Inputs that hold of all evaluations before the first; "img" is the latent's.
constexpr const char* kVarying = "img";
constexpr const char* kStepwise = "timesteps";

Result<Program> CompileNetwork(const Graph& graph, const Component& component, Precision precision,
                               const Device& device) {
  const auto dtype_of = [&](std::string_view name) {
    const auto found = component.tensors.by_name.find(name);
    // One that lacks is told by Program::Compile.
    return found != component.tensors.by_name.end() ? found->second->dtype : DType::kF32;
  };
  return Program::Compile(SetPrecision(Split(Fuse(graph)), precision, dtype_of), component.tensors,
                          device);
}

// The sigmas fall; only the last may be 0.
float LeastPositive(std::span<const float> sigmas) {
  return sigmas.back() > 0.0f ? sigmas.back() : sigmas[sigmas.size() - 2];
}

// x in [-1, 1] -> [0, 255], rounded to nearest.
std::vector<uint8_t> ToRgb8(std::span<const float> x) {
  std::vector<uint8_t> pixels(x.size());
  for (size_t i = 0; i < x.size(); ++i) {
    const float unit = std::clamp(0.5f * x[i] + 0.5f, 0.0f, 1.0f);
    pixels[i] = static_cast<uint8_t>(std::lrint(255.0f * unit));
  }
  return pixels;
}

}  // namespace

Result<FluxPipeline> FluxPipeline::Prepare(const Job& job, const Device& device) {
  FluxPipeline pipeline(job);
  INGOT_ASSIGN_OR_RETURN(pipeline.sigmas_, MakeSigmas(*job.scheduler, job.flow(), job.steps));
  INGOT_ASSIGN_OR_RETURN(pipeline.evaluations_, EvaluationSigmas(*job.sampler, pipeline.sigmas_));
  pipeline.latent_shape_ = {job.flux().in_channels / 4, job.height / 8, job.width / 8};
  INGOT_RETURN_IF_ERROR(pipeline.Tokenize());
  INGOT_RETURN_IF_ERROR(pipeline.Compile(device));
  INGOT_RETURN_IF_ERROR(pipeline.PlaceWeights());
  pipeline.MakePlan();
  return pipeline;
}

// With CFG both rows have one length, the longer one's: one graph serves both.
Status FluxPipeline::Tokenize() {
  INGOT_ASSIGN_OR_RETURN(const ClipTokenizer clip, LoadClipTokenizer(job_.models.clip));
  INGOT_ASSIGN_OR_RETURN(const T5Tokenizer t5, LoadT5Tokenizer(job_.models.t5));
  std::vector<std::string> texts = {job_.prompt};
  if (job_.cfg_scale != 1.0) texts.push_back(job_.negative_prompt);
  const int64_t t5_rows = job_.models.t5.As<t5::T5Config>().vocab_size;
  auto num_tokens = static_cast<size_t>(job_.min_text_tokens);
  for (int pass = 0; pass < 2; ++pass) {  // the second with the longest length known
    prompts_.clear();
    for (const std::string& text : texts) {
      INGOT_ASSIGN_OR_RETURN(PromptTokens tokens,
                             TokenizePrompt(text, clip, t5, num_tokens, t5_rows));
      num_tokens = std::max(num_tokens, tokens.t5.ids.size());
      prompts_.push_back(std::move(tokens));
    }
  }
  return {};
}

Status FluxPipeline::Compile(const Device& device) {
  const auto num_tokens = static_cast<int64_t>(prompts_[0].t5.ids.size());
  const ModelSet& models = job_.models;
  {
    Graph g;
    const auto& config = models.clip.As<clip::ClipConfig>();
    const clip::ClipInputs in = {g.Input("input_ids", {1, kClipTokens}, DType::kI32),
                                 g.Input("eos_idx", {1}, DType::kI32)};
    g.MarkOutput("pooled",
                 clip::ClipText(g, config, Scope(), in, config.num_hidden_layers).pooler_output);
    INGOT_ASSIGN_OR_RETURN(clip_, CompileNetwork(g, models.clip, job_.precision, device));
  }
  {
    Graph g;
    const Value ids = g.Input("input_ids", {1, num_tokens}, DType::kI32);
    g.MarkOutput("txt", t5::T5Encoder(g, models.t5.As<t5::T5Config>(), Scope(), ids));
    INGOT_ASSIGN_OR_RETURN(t5_, CompileNetwork(g, models.t5, job_.precision, device));
  }
  {
    Graph g;
    const flux::FluxInputs in = flux::DeclareFluxInputs(
        g, job_.flux(), {.txt_tokens = num_tokens, .img_tokens = latent_shape_.num_patches()});
    g.MarkOutput("velocity", flux::Flux(g, job_.flux(), Scope(), in));
    Hoisted hoisted = Hoist(g, {.varying = {kVarying},
                                .stepwise = {kStepwise},
                                .num_rows = static_cast<int64_t>(evaluations_.size())});
    crossings_ = std::move(hoisted.crossings);
    INGOT_ASSIGN_OR_RETURN(hoist_,
                           CompileNetwork(hoisted.hoisted, models.flux, job_.precision, device));
    INGOT_ASSIGN_OR_RETURN(flux_,
                           CompileNetwork(hoisted.main, models.flux, job_.precision, device));
  }
  Graph g;
  const Value z =
      g.Input("z", {1, latent_shape_.channels, latent_shape_.height, latent_shape_.width});
  g.MarkOutput("picture", vae::Decode(g, models.vae.As<vae::VaeConfig>(), Scope(),
                                      g.Permute(z, {0, 2, 3, 1}), vae::kFluxLatents));
  INGOT_ASSIGN_OR_RETURN(vae_, CompileNetwork(g, models.vae, job_.precision, device));
  return {};
}

// Weights that are used again stay in memory.
Status FluxPipeline::PlaceWeights() {
  const auto place = [](Program& program, int64_t num_runs) {
    return program.PlaceWeights(
        {.num_bytes = AllResidentBytes(program.weight_uses()), .num_runs = num_runs});
  };
  const auto num_prompts = static_cast<int64_t>(prompts_.size());
  const auto num_evaluations = static_cast<int64_t>(evaluations_.size());
  INGOT_RETURN_IF_ERROR(place(*clip_, num_prompts));
  INGOT_RETURN_IF_ERROR(place(*t5_, num_prompts));
  INGOT_RETURN_IF_ERROR(place(*hoist_, num_prompts));
  INGOT_RETURN_IF_ERROR(place(*flux_, job_.batch * num_evaluations * num_prompts));
  return place(*vae_, job_.batch);
}

void FluxPipeline::MakePlan() {
  plan_.phases = {clip_->Plan("clip"), t5_->Plan("t5"), hoist_->Plan("hoist"),
                  flux_->Plan("sampling"), vae_->Plan("decode")};
  const int64_t latent = latent_shape_.num_elements();
  const int64_t buffers = job_.sampler->num_buffers + BrownianTree::kNumBuffers;
  const auto num_tokens = static_cast<int64_t>(prompts_[0].t5.ids.size());
  int64_t cond = num_tokens * job_.flux().context_in_dim + job_.flux().vec_in_dim;
  for (const Graph::Output& output : hoist_->graph().outputs()) {
    cond += hoist_->graph().shape(output.value).num_elements();
  }
  const int64_t floats =
      static_cast<int64_t>(prompts_.size()) * cond + latent * (job_.batch + buffers + 1);
  plan_.carried_bytes = floats * 4 + int64_t{job_.batch} * job_.width * job_.height * 3;
  plan_.fixed_bytes = kFixedBytes;
  plan_.num_steps = job_.steps;
}

Result<Record> FluxPipeline::Run(Device& device, const ProgressCallback& progress,
                                 std::stop_token stop) const {
  Record record{.plan = plan_, .phases = {}, .pictures = {}};
  std::vector<Conditioning> conds(prompts_.size());
  std::vector<std::vector<float>> latents;

  const auto run_phase = [&](std::string name, const auto& body) -> Status {
    if (progress) progress({.phase = name});
    PhaseMeasure& measure = record.phases.emplace_back();
    measure.name = std::move(name);
    const Stopwatch watch;
    const Status status = body(measure);
    measure.seconds = watch.seconds();
    return status;
  };
  INGOT_RETURN_IF_ERROR(run_phase(
      "clip", [&](PhaseMeasure& measure) { return EncodeClip(device, conds, measure, stop); }));
  INGOT_RETURN_IF_ERROR(run_phase(
      "t5", [&](PhaseMeasure& measure) { return EncodeT5(device, conds, measure, stop); }));
  INGOT_RETURN_IF_ERROR(run_phase("hoist", [&](PhaseMeasure& measure) {
    return HoistConditioning(device, conds, measure, stop);
  }));
  INGOT_RETURN_IF_ERROR(run_phase("sampling", [&](PhaseMeasure& measure) {
    return SamplePictures(device, conds, latents, measure, progress, stop);
  }));
  INGOT_RETURN_IF_ERROR(run_phase("decode", [&](PhaseMeasure& measure) {
    return DecodePictures(device, latents, record.pictures, measure, progress, stop);
  }));
  return record;
}

Status FluxPipeline::EncodeClip(Device& device, std::vector<Conditioning>& conds,
                                PhaseMeasure& measure, std::stop_token stop) const {
  INGOT_ASSIGN_OR_RETURN(const std::unique_ptr<Execution> clip, Execution::Start(*clip_, device));
  for (size_t i = 0; i < prompts_.size(); ++i) {
    Copy<int32_t>(prompts_[i].clip.ids, clip->Input("input_ids").As<int32_t>());
    clip->Input("eos_idx").As<int32_t>()[0] = prompts_[i].clip_end_idx;
    INGOT_RETURN_IF_ERROR(clip->Run(stop));
    const std::span<const float> pooled = clip->Output("pooled").As<float>();
    INGOT_RETURN_IF_ERROR(CheckFinite(pooled, "clip", job_.models.clip));
    conds[i].pooled.assign(pooled.begin(), pooled.end());
  }
  Measure(*clip, measure);
  return {};
}

Status FluxPipeline::EncodeT5(Device& device, std::vector<Conditioning>& conds,
                              PhaseMeasure& measure, std::stop_token stop) const {
  INGOT_ASSIGN_OR_RETURN(const std::unique_ptr<Execution> t5, Execution::Start(*t5_, device));
  for (size_t i = 0; i < prompts_.size(); ++i) {
    Copy<int32_t>(prompts_[i].t5.ids, t5->Input("input_ids").As<int32_t>());
    INGOT_RETURN_IF_ERROR(t5->Run(stop));
    const std::span<const float> txt = t5->Output("txt").As<float>();
    INGOT_RETURN_IF_ERROR(CheckFinite(txt, "t5", job_.models.t5));
    conds[i].txt.assign(txt.begin(), txt.end());
    ApplyEmphasis(prompts_[i].t5.weights, conds[i].txt);
  }
  Measure(*t5, measure);
  return {};
}

Status FluxPipeline::HoistConditioning(Device& device, std::vector<Conditioning>& conds,
                                       PhaseMeasure& measure, std::stop_token stop) const {
  INGOT_ASSIGN_OR_RETURN(const std::unique_ptr<Execution> hoist, Execution::Start(*hoist_, device));
  const auto input = [&](const char* name) { return hoist->Input(name).As<float>(); };
  const auto fill_if_used = [&](const char* name, const auto& fill) {
    if (hoist_->graph().FindInput(name).id >= 0) fill(input(name));
  };
  fill_if_used("img_ids", [&](std::span<float> ids) { FillImageIds(latent_shape_, ids); });
  fill_if_used("txt_ids", [](std::span<float> ids) { std::ranges::fill(ids, 0.0f); });
  fill_if_used("guidance", [&](std::span<float> guidance) {
    guidance[0] = static_cast<float>(job_.distilled_guidance);
  });
  for (Conditioning& cond : conds) {
    Copy<float>(evaluations_, input(kStepwise));
    Copy<float>(cond.txt, input("txt"));
    Copy<float>(cond.pooled, input("y"));
    INGOT_RETURN_IF_ERROR(hoist->Run(stop));
    for (const Hoisted::Crossing& crossing : crossings_) {
      const std::span<const float> value = hoist->Output(crossing.name).As<float>();
      cond.hoisted.emplace_back(value.begin(), value.end());
    }
  }
  Measure(*hoist, measure);
  return {};
}

Status FluxPipeline::SamplePictures(Device& device, const std::vector<Conditioning>& conds,
                                    std::vector<std::vector<float>>& latents, PhaseMeasure& measure,
                                    const ProgressCallback& progress, std::stop_token stop) const {
  INGOT_ASSIGN_OR_RETURN(const std::unique_ptr<Execution> flux, Execution::Start(*flux_, device));
  const auto num_elements = static_cast<size_t>(latent_shape_.num_elements());
  std::vector<float> scratch(num_elements * static_cast<size_t>(job_.sampler->num_buffers));
  std::vector<float> tree_scratch(num_elements * BrownianTree::kNumBuffers);
  std::vector<float> unconditional(conds.size() > 1 ? num_elements : 0);

  // denoised = x - sigma * v; with CFG: uncond + cfg * (cond - uncond).
  size_t evaluation = 0;  // of this picture
  const auto denoise_one = [&](const Conditioning& cond, std::span<const float> x, float sigma,
                               std::span<float> denoised) -> Status {
    for (size_t i = 0; i < crossings_.size(); ++i) {
      const std::span<float> input = flux->Input(crossings_[i].name).As<float>();
      const size_t row = crossings_[i].stepwise ? evaluation : 0;
      Copy<float>(std::span(cond.hoisted[i]).subspan(row * input.size(), input.size()), input);
    }
    Patchify(latent_shape_, x, flux->Input("img").As<float>());
    INGOT_RETURN_IF_ERROR(flux->Run(stop));
    Unpatchify(latent_shape_, flux->Output("velocity").As<float>(), denoised);
    ToDenoised(sigma, x, denoised, denoised);
    return {};
  };
  const auto denoise = [&](std::span<const float> x, float sigma,
                           std::span<float> denoised) -> Status {
    INGOT_CHECK(sigma == evaluations_[evaluation]);
    INGOT_RETURN_IF_ERROR(denoise_one(conds[0], x, sigma, denoised));
    if (conds.size() > 1) {
      INGOT_RETURN_IF_ERROR(denoise_one(conds[1], x, sigma, unconditional));
    }
    ++evaluation;
    if (conds.size() == 1) return {};
    const auto cfg = static_cast<float>(job_.cfg_scale);
    for (size_t i = 0; i < num_elements; ++i) {
      denoised[i] = unconditional[i] + cfg * (denoised[i] - unconditional[i]);
    }
    return {};
  };

  const int num_steps = static_cast<int>(sigmas_.size()) - 1;
  for (int picture = 0; picture < job_.batch; ++picture) {
    const uint64_t seed = job_.seed + static_cast<uint64_t>(picture);
    NoiseStream noise(job_.rng, seed);
    std::vector<float>& x = latents.emplace_back(num_elements, 0.0f);
    {
      const std::span<float> first = std::span(scratch).first(num_elements);
      noise.Fill(first);
      AddNoise(sigmas_.front(), first, x);
    }
    const BrownianTree tree(job_.rng, seed, LeastPositive(sigmas_), sigmas_.front());
    evaluation = 0;
    Stopwatch watch;
    double begin_s = 0;
    const auto end_step = [&] {
      const double now_s = watch.seconds();
      measure.step_s.push_back(now_s - begin_s);
      begin_s = now_s;
    };
    const SamplerRun run = {.denoise = denoise,
                            .sigmas = sigmas_,
                            .x = x,
                            .scratch = scratch,
                            .noise =
                                [&](float sigma, float sigma_next, std::span<float> out) {
                                  if (job_.sampler->noise == NoiseKind::kBrownian) {
                                    tree.Fill(sigma, sigma_next, out, tree_scratch);
                                  } else {
                                    noise.Fill(out);
                                  }
                                },
                            .on_step = [&](const SamplerStep& step) -> Status {
                              end_step();
                              if (progress) {
                                progress({.phase = "sampling",
                                          .step = picture * num_steps + step.step_idx + 1,
                                          .num_steps = job_.batch * num_steps});
                              }
                              return {};
                            }};
    INGOT_RETURN_IF_ERROR(Sample(*job_.sampler, run));
    INGOT_RETURN_IF_ERROR(CheckFinite(x, "sampling", job_.models.flux));
  }
  Measure(*flux, measure);
  return {};
}

Status FluxPipeline::DecodePictures(Device& device, const std::vector<std::vector<float>>& latents,
                                    std::vector<Picture>& pictures, PhaseMeasure& measure,
                                    const ProgressCallback& progress, std::stop_token stop) const {
  INGOT_ASSIGN_OR_RETURN(const std::unique_ptr<Execution> vae, Execution::Start(*vae_, device));
  for (size_t i = 0; i < latents.size(); ++i) {
    Copy<float>(latents[i], vae->Input("z").As<float>());
    INGOT_RETURN_IF_ERROR(vae->Run(stop));
    const std::span<const float> x = vae->Output("picture").As<float>();
    INGOT_RETURN_IF_ERROR(CheckFinite(x, "decode", job_.models.vae));
    pictures.push_back({job_.width, job_.height, job_.seed + i, ToRgb8(x)});
    if (progress) {
      progress({.phase = "decode",
                .step = static_cast<int>(i) + 1,
                .num_steps = static_cast<int>(latents.size())});
    }
  }
  Measure(*vae, measure);
  return {};
}

}  // namespace ingot
