#include "pipeline/flux_pipeline.h"

#include <algorithm>
#include <array>
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

// The process beside the plan's arenas, measured with two threads: code, libraries, stacks; and on
// the heap the networks, compiled, with the headers of their files.
constexpr int64_t kProcessBytes = 27 << 19;  // 13.5 MiB
constexpr int64_t kBytesPerNode = 1400;

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

// A network with one way for each of the options; it runs num_runs times.
Result<Phase> CompileNetwork(const char* name, const Graph& graph, const Component& component,
                             Precision precision, const Device& device,
                             std::span<const Program::Options> ways, int64_t num_runs) {
  const auto dtype_of = [&](std::string_view weight) {
    const auto found = component.tensors.by_name.find(weight);
    // One that lacks is told by Program::Compile.
    return found != component.tensors.by_name.end() ? found->second->dtype : DType::kF32;
  };
  const Graph fused = SetPrecision(Split(Fuse(graph)), precision, dtype_of);
  std::vector<Program> programs;
  for (const Program::Options& options : ways) {
    INGOT_ASSIGN_OR_RETURN(Program program,
                           Program::Compile(fused, component.tensors, device, options));
    programs.push_back(std::move(program));
  }
  return Phase(name, std::move(programs), num_runs);
}

constexpr Program::Options kWhole = {};

// The MLPs and attentions of 4096 tokens in pieces: slower by what their weights are unpacked
// again.
constexpr std::array<Program::Options, 3> kTransformerWays = {
    {{}, {.chunk_rows = 1024}, {.chunk_rows = 256}}};

// Decoders of pictures whose largest activation takes `largest_bytes`: in memory, then the largest
// ones on disk, then nearly all.
std::vector<Program::Options> DecoderWays(int64_t largest_bytes) {
  std::vector<Program::Options> ways = {kWhole};
  for (const auto& [divisor, strip_rows] : {std::pair(2, 64), {4, 64}, {8, 32}, {32, 16}}) {
    ways.push_back(
        {.strips = {.max_picture_bytes = largest_bytes / divisor - 1, .strip_rows = strip_rows}});
  }
  return ways;
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
  const auto num_prompts = static_cast<int64_t>(prompts_.size());
  const ModelSet& models = job_.models;
  {
    Graph g;
    const auto& config = models.clip.As<clip::ClipConfig>();
    const clip::ClipInputs in = {g.Input("input_ids", {1, kClipTokens}, DType::kI32),
                                 g.Input("eos_idx", {1}, DType::kI32)};
    g.MarkOutput("pooled",
                 clip::ClipText(g, config, Scope(), in, config.num_hidden_layers).pooler_output);
    INGOT_ASSIGN_OR_RETURN(clip_, CompileNetwork("clip", g, models.clip, job_.precision, device,
                                                 {&kWhole, 1}, num_prompts));
  }
  {
    Graph g;
    const Value ids = g.Input("input_ids", {1, num_tokens}, DType::kI32);
    g.MarkOutput("txt", t5::T5Encoder(g, models.t5.As<t5::T5Config>(), Scope(), ids));
    INGOT_ASSIGN_OR_RETURN(
        t5_, CompileNetwork("t5", g, models.t5, job_.precision, device, {&kWhole, 1}, num_prompts));
  }
  Graph g;
  const Value z =
      g.Input("z", {1, latent_shape_.channels, latent_shape_.height, latent_shape_.width});
  g.MarkOutput("picture", vae::Decode(g, models.vae.As<vae::VaeConfig>(), Scope(),
                                      g.Permute(z, {0, 2, 3, 1}), vae::kFluxLatents));
  const auto& vae_config = models.vae.As<vae::VaeConfig>();
  // Of the last upsampling, in f16.
  const int64_t largest_bytes =
      int64_t{job_.width} * job_.height * vae_config.block_out_channels[1] * 2;
  INGOT_ASSIGN_OR_RETURN(vae_, CompileNetwork("decode", g, models.vae, job_.precision, device,
                                              DecoderWays(largest_bytes), job_.batch));
  // The rows of all evaluations at once leave memory with their weights before the first step; one
  // at a time they take less, but stand beside the transformer.
  INGOT_RETURN_IF_ERROR(CompileTransformer(device, static_cast<int64_t>(evaluations_.size())));
  least_bytes_ = LeastBytes();
  INGOT_RETURN_IF_ERROR(CompileTransformer(device, 1));
  least_bytes_ = std::min(least_bytes_, LeastBytes());
  return {};
}

Status FluxPipeline::CompileTransformer(const Device& device, int64_t group_rows) {
  const auto num_prompts = static_cast<int64_t>(prompts_.size());
  const auto num_evaluations = static_cast<int64_t>(evaluations_.size());
  group_rows_ = group_rows;
  Graph g;
  const flux::FluxInputs in =
      flux::DeclareFluxInputs(g, job_.flux(),
                              {.txt_tokens = static_cast<int64_t>(prompts_[0].t5.ids.size()),
                               .img_tokens = latent_shape_.num_patches()});
  g.MarkOutput("velocity", flux::Flux(g, job_.flux(), Scope(), in));
  Hoisted hoisted =
      Hoist(g, {.varying = {kVarying}, .stepwise = {kStepwise}, .num_rows = group_rows});
  crossings_ = std::move(hoisted.crossings);
  const int64_t num_hoists = num_groups() == 1 ? 1 : num_groups() * job_.batch;
  INGOT_ASSIGN_OR_RETURN(
      hoist_, CompileNetwork("hoist", hoisted.hoisted, job_.models.flux, job_.precision, device,
                             {&kWhole, 1}, num_hoists * num_prompts));
  INGOT_ASSIGN_OR_RETURN(
      flux_, CompileNetwork("sampling", hoisted.main, job_.models.flux, job_.precision, device,
                            kTransformerWays, job_.batch * num_evaluations * num_prompts));
  return {};
}

int64_t FluxPipeline::num_groups() const {
  const auto num_evaluations = static_cast<int64_t>(evaluations_.size());
  return (num_evaluations + group_rows_ - 1) / group_rows_;
}

int64_t FluxPipeline::fixed_bytes() const {
  size_t num_nodes = 0;
  for (const Phase* phase : {&*clip_, &*t5_, &*hoist_, &*flux_, &*vae_}) {
    num_nodes += phase->program().graph().nodes().size();
  }
  return kProcessBytes + static_cast<int64_t>(num_nodes) * kBytesPerNode;
}

FluxPipeline::Carried FluxPipeline::carried() const {
  const int64_t latent = latent_shape_.num_elements() * 4;
  const int64_t buffers = job_.sampler->num_buffers + BrownianTree::kNumBuffers;
  const auto num_prompts = static_cast<int64_t>(prompts_.size());
  const auto num_tokens = static_cast<int64_t>(prompts_[0].t5.ids.size());
  const int64_t embeddings =
      num_prompts * 4 * (num_tokens * job_.flux().context_in_dim + job_.flux().vec_in_dim);
  int64_t rows = 0;
  const Graph& hoist = hoist_->program().graph();
  for (const Graph::Output& output : hoist.outputs()) {
    rows += num_prompts * 4 * hoist.shape(output.value).num_elements();
  }
  return {.t5 = embeddings,
          .hoist = embeddings + rows,
          .sampling = embeddings + rows + latent * (job_.batch + buffers + num_prompts - 1),
          .decode = job_.batch * (latent + int64_t{job_.width} * job_.height * 3)};
}

int64_t FluxPipeline::LeastBytes() const {
  const int64_t hoist_beside = num_groups() > 1 ? hoist_->least_bytes() : 0;
  const Carried carry = carried();
  const int64_t largest = std::max(
      {clip_->least_bytes(), t5_->least_bytes() + carry.t5, hoist_->least_bytes() + carry.hoist,
       flux_->least_bytes() + hoist_beside + carry.sampling, vae_->least_bytes() + carry.decode});
  return fixed_bytes() + largest;
}

// The rows of all evaluations at once, if they fit; else groups of half as many, and again: the
// modulation is read once a group.
Status FluxPipeline::FitTo(const Device& device, int64_t ram_bytes) {
  Status status;
  for (auto rows = static_cast<int64_t>(evaluations_.size());; rows = (rows + 1) / 2) {
    INGOT_RETURN_IF_ERROR(CompileTransformer(device, rows));
    status = FitPhases(ram_bytes);
    if (status.code() != StatusCode::kOutOfBudget || rows == 1) break;
  }
  INGOT_RETURN_IF_ERROR(status);
  MakePlan();
  return {};
}

Status FluxPipeline::FitPhases(int64_t ram_bytes) {
  const int64_t room = ram_bytes - fixed_bytes();
  const Carried carry = carried();
  INGOT_RETURN_IF_ERROR(clip_->FitTo(room));
  INGOT_RETURN_IF_ERROR(t5_->FitTo(room - carry.t5));
  INGOT_RETURN_IF_ERROR(vae_->FitTo(room - carry.decode));
  // In groups it runs between steps, beside the transformer.
  const bool in_groups = num_groups() > 1;
  INGOT_RETURN_IF_ERROR(hoist_->FitTo(in_groups ? hoist_->least_bytes() : room - carry.hoist));
  return flux_->FitTo(room - carry.sampling - (in_groups ? hoist_->least_bytes() : 0));
}

void FluxPipeline::MakePlan() {
  for (Phase* phase : {&*clip_, &*t5_, &*hoist_, &*flux_, &*vae_}) phase->Settle();
  plan_ = {.phases = {clip_->Plan(), t5_->Plan(), hoist_->Plan(), flux_->Plan(), vae_->Plan()},
           .fixed_bytes = fixed_bytes(),
           .num_steps = job_.steps};
  const Carried carry = carried();
  plan_.phases[1].carried_bytes = carry.t5;
  plan_.phases[2].carried_bytes = carry.hoist;
  plan_.phases[3].carried_bytes = carry.sampling;
  plan_.phases[4].carried_bytes = carry.decode;
  if (num_groups() == 1) return;
  PhasePlan &hoist = plan_.phases[2], &sampling = plan_.phases[3];
  hoist.num_parts = static_cast<int>(num_groups());
  sampling.arena_bytes += hoist.peak_bytes() - hoist.carried_bytes;
  sampling.max_live_bytes += hoist.max_live_bytes + hoist.ring_bytes;
}

Result<Record> FluxPipeline::Run(Device& device, const std::filesystem::path& scratch_folder,
                                 const ProgressCallback& progress, std::stop_token stop) const {
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
  INGOT_RETURN_IF_ERROR(run_phase("hoist", [&](PhaseMeasure& measure) -> Status {
    return num_groups() == 1 ? HoistAll(device, conds, measure, stop) : Status();
  }));
  INGOT_RETURN_IF_ERROR(run_phase("sampling", [&](PhaseMeasure& measure) {
    return SamplePictures(device, conds, latents, measure, progress, stop);
  }));
  conds = {};
  INGOT_RETURN_IF_ERROR(run_phase("decode", [&](PhaseMeasure& measure) {
    return DecodePictures(device, scratch_folder, latents, record.pictures, measure, progress,
                          stop);
  }));
  return record;
}

Status FluxPipeline::EncodeClip(Device& device, std::vector<Conditioning>& conds,
                                PhaseMeasure& measure, std::stop_token stop) const {
  INGOT_ASSIGN_OR_RETURN(const std::unique_ptr<Execution> clip,
                         Execution::Start(clip_->program(), device, stop));
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
  INGOT_ASSIGN_OR_RETURN(const std::unique_ptr<Execution> t5,
                         Execution::Start(t5_->program(), device, stop));
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

Status FluxPipeline::HoistGroup(Execution& hoist, size_t group, Conditioning& cond,
                                std::stop_token stop) const {
  if (cond.group == group) return {};
  const Graph& graph = hoist_->program().graph();
  const auto fill_if_used = [&](const char* name, const auto& fill) {
    if (graph.FindInput(name).id >= 0) fill(hoist.Input(name).As<float>());
  };
  fill_if_used("img_ids", [&](std::span<float> ids) { FillImageIds(latent_shape_, ids); });
  fill_if_used("txt_ids", [](std::span<float> ids) { std::ranges::fill(ids, 0.0f); });
  fill_if_used("guidance", [&](std::span<float> guidance) {
    guidance[0] = static_cast<float>(job_.distilled_guidance);
  });
  const std::span<float> sigmas = hoist.Input(kStepwise).As<float>();
  for (size_t row = 0; row < sigmas.size(); ++row) {  // the last group may have fewer
    sigmas[row] = evaluations_[std::min(group * sigmas.size() + row, evaluations_.size() - 1)];
  }
  Copy<float>(cond.txt, hoist.Input("txt").As<float>());
  Copy<float>(cond.pooled, hoist.Input("y").As<float>());
  INGOT_RETURN_IF_ERROR(hoist.Run(stop));
  cond.hoisted.resize(crossings_.size());
  for (size_t i = 0; i < crossings_.size(); ++i) {
    const std::span<const float> value = hoist.Output(crossings_[i].name).As<float>();
    cond.hoisted[i].assign(value.begin(), value.end());
  }
  cond.group = group;
  return {};
}

Status FluxPipeline::HoistAll(Device& device, std::vector<Conditioning>& conds,
                              PhaseMeasure& measure, std::stop_token stop) const {
  INGOT_ASSIGN_OR_RETURN(const std::unique_ptr<Execution> hoist,
                         Execution::Start(hoist_->program(), device, stop));
  for (Conditioning& cond : conds) INGOT_RETURN_IF_ERROR(HoistGroup(*hoist, 0, cond, stop));
  Measure(*hoist, measure);
  return {};
}

Status FluxPipeline::SamplePictures(Device& device, std::vector<Conditioning>& conds,
                                    std::vector<std::vector<float>>& latents, PhaseMeasure& measure,
                                    const ProgressCallback& progress, std::stop_token stop) const {
  INGOT_ASSIGN_OR_RETURN(const std::unique_ptr<Execution> flux,
                         Execution::Start(flux_->program(), device, stop));
  std::unique_ptr<Execution> hoist;  // where it runs between steps
  if (num_groups() > 1) {
    INGOT_ASSIGN_OR_RETURN(hoist, Execution::Start(hoist_->program(), device, stop));
  }
  const auto num_elements = static_cast<size_t>(latent_shape_.num_elements());
  std::vector<float> scratch(num_elements * static_cast<size_t>(job_.sampler->num_buffers));
  std::vector<float> tree_scratch(num_elements * BrownianTree::kNumBuffers);
  std::vector<float> unconditional(conds.size() > 1 ? num_elements : 0);

  // denoised = x - sigma * v; with CFG: uncond + cfg * (cond - uncond).
  size_t evaluation = 0;  // of this picture
  const auto group_rows = static_cast<size_t>(group_rows_);
  const auto denoise_one = [&](Conditioning& cond, std::span<const float> x, float sigma,
                               std::span<float> denoised) -> Status {
    if (hoist) {
      INGOT_RETURN_IF_ERROR(HoistGroup(*hoist, evaluation / group_rows, cond, stop));
    }
    for (size_t i = 0; i < crossings_.size(); ++i) {
      const std::span<float> input = flux->Input(crossings_[i].name).As<float>();
      const size_t row = crossings_[i].stepwise ? evaluation % group_rows : 0;
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
  measure.step_s.reserve(static_cast<size_t>(job_.batch * num_steps));  // no step allocates
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
                            },
                            .eta = job_.eta};
    INGOT_RETURN_IF_ERROR(Sample(*job_.sampler, run));
    INGOT_RETURN_IF_ERROR(CheckFinite(x, "sampling", job_.models.flux));
  }
  Measure(*flux, measure);
  if (hoist) Measure(*hoist, measure);
  return {};
}

Status FluxPipeline::DecodePictures(Device& device, const std::filesystem::path& scratch_folder,
                                    const std::vector<std::vector<float>>& latents,
                                    std::vector<Picture>& pictures, PhaseMeasure& measure,
                                    const ProgressCallback& progress, std::stop_token stop) const {
  INGOT_ASSIGN_OR_RETURN(const std::unique_ptr<Execution> vae,
                         Execution::Start(vae_->program(), device, stop, scratch_folder));
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
