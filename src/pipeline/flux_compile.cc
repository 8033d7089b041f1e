// Of FluxPipeline: from a job to its networks, compiled.
#include <algorithm>

#include "graph/passes/fuse.h"
#include "graph/passes/split.h"
#include "models/flux/flux.h"
#include "pipeline/flux_pipeline.h"

namespace ingot {
namespace {

constexpr int64_t kClipTokens = 77;

// Inputs that hold of all evaluations before the first; "img" is the latent's.
constexpr const char* kVarying = "img";
constexpr const char* kStepwise = "timesteps";

// A network that runs whole or in one of the `slower` ways, num_runs times. takes_f8: as of
// SetPrecision.
Result<Phase> CompileNetwork(const char* name, const Graph& graph, const Component& component,
                             Precision precision, const Device& device,
                             std::vector<Program::Options> slower, int64_t num_runs,
                             bool takes_f8 = false) {
  const auto dtype_of = [&](std::string_view weight) {
    const TensorEntry* entry = component.tensors.Find(weight);
    // One that lacks is told by Program::Compile.
    return entry != nullptr ? entry->dtype : DType::kF32;
  };
  INGOT_ASSIGN_OR_RETURN(Program whole, Program::Compile(SetPrecision(Split(Fuse(graph)), precision,
                                                                      dtype_of, takes_f8),
                                                         component.tensors, device));
  return Phase(name, std::move(whole), std::move(slower), device, num_runs);
}

// The MLPs and attentions of more tokens than these in pieces: slower by what their weights are
// unpacked again.
std::vector<Program::Options> TransformerWays(int64_t num_tokens) {
  std::vector<Program::Options> ways;
  for (const int64_t chunk_rows : {1024, 256}) {
    if (num_tokens > chunk_rows) ways.push_back({.chunk_rows = chunk_rows, .strips = {}});
  }
  return ways;
}

// Decoders of pictures whose largest activation takes `largest_bytes`: the largest ones on disk,
// then nearly all.
std::vector<Program::Options> DecoderWays(int64_t largest_bytes) {
  std::vector<Program::Options> ways;
  for (const auto& [divisor, strip_rows] : {std::pair(2, 64), {4, 64}, {8, 32}, {32, 16}}) {
    ways.push_back(
        {.strips = {.max_picture_bytes = largest_bytes / divisor - 1, .strip_rows = strip_rows}});
  }
  return ways;
}

}  // namespace

Result<FluxPipeline> FluxPipeline::Prepare(const Job& job, const Device& device,
                                           Tokenizers* tokenizers,
                                           std::optional<FluxPipeline> earlier) {
  FluxPipeline pipeline(job, device);
  INGOT_ASSIGN_OR_RETURN(pipeline.sigmas_, MakeSigmas(*job.scheduler, job.flow(), job.steps));
  INGOT_ASSIGN_OR_RETURN(pipeline.evaluations_, EvaluationSigmas(*job.sampler, pipeline.sigmas_));
  pipeline.has_vram_ = device.copy_engine() != nullptr;
  pipeline.prompts_key_ = pipeline.PromptsKey();
  if (earlier && earlier->prompts_key_ == pipeline.prompts_key_) {
    pipeline.prompts_ = earlier->prompts_;
  } else {
    INGOT_RETURN_IF_ERROR(pipeline.Tokenize(tokenizers));
  }
  if (earlier) pipeline.TakeNetworks(*earlier);
  earlier.reset();
  if (!pipeline.clip_) INGOT_RETURN_IF_ERROR(pipeline.CompileEncoders());
  if (!pipeline.flux_) INGOT_RETURN_IF_ERROR(pipeline.CompilePictures());
  return pipeline;
}

std::string FluxPipeline::PromptsKey() const {
  return fmt::format("{}\n{}\n{} {}\n{}:{}{}", VocabularyVersion(job_.models.clip),
                     VocabularyVersion(job_.models.t5), job_.min_text_tokens, job_.cfg_scale != 1.0,
                     job_.prompt.size(), job_.prompt, job_.negative_prompt);
}

std::string FluxPipeline::EncodersKey() const {
  return fmt::format("{} {} {} {} {}", job_.models.clip.tensors.file->file().identity(),
                     job_.models.t5.tensors.file->file().identity(), Name(job_.precision),
                     prompts_.size(), prompts_[0].t5.ids.size());
}

std::string FluxPipeline::PicturesKey() const {
  return fmt::format("{} {} {} {} {} {}x{}x{} {}", job_.models.flux.tensors.file->file().identity(),
                     job_.models.vae.tensors.file->file().identity(), Name(job_.precision),
                     prompts_.size(), prompts_[0].t5.ids.size(), job_.batch, job_.width,
                     job_.height, evaluations_.size());
}

void FluxPipeline::TakeNetworks(FluxPipeline& earlier) {
  const bool takes_encoders = EncodersKey() == earlier.EncodersKey();
  if (takes_encoders) {
    clip_ = std::move(earlier.clip_);
    t5_ = std::move(earlier.t5_);
  }
  if (PicturesKey() != earlier.PicturesKey() || !earlier.flux_->CanFitAgain() ||
      !earlier.vae_->CanFitAgain()) {
    return;
  }
  latent_shape_ = earlier.latent_shape_;
  group_rows_ = earlier.group_rows_;
  crossings_ = std::move(earlier.crossings_);
  hoist_ = std::move(earlier.hoist_);
  flux_ = std::move(earlier.flux_);
  vae_ = std::move(earlier.vae_);
  if (!takes_encoders || job_.sampler != earlier.job_.sampler || job_.steps != earlier.job_.steps) {
    return;
  }
  has_plan_ = earlier.has_plan_;
  budget_ = std::move(earlier.budget_);
  rates_ = earlier.rates_;
  fixed_ = earlier.fixed_;
  plan_ = std::move(earlier.plan_);
}

Status FluxPipeline::Reshape(int width, int height, int batch) {
  job_.width = width;
  job_.height = height;
  job_.batch = batch;
  return CompilePictures();
}

// With CFG both rows have one length, the longer one's: one graph serves both.
Status FluxPipeline::Tokenize(Tokenizers* tokenizers) {
  Tokenizers own;
  if (tokenizers == nullptr) tokenizers = &own;
  INGOT_ASSIGN_OR_RETURN(const auto clip, tokenizers->Clip(job_.models.clip));
  INGOT_ASSIGN_OR_RETURN(const auto t5, tokenizers->T5(job_.models.t5));
  std::vector<std::string> texts = {job_.prompt};
  if (job_.cfg_scale != 1.0) texts.push_back(job_.negative_prompt);
  const int64_t t5_rows = job_.models.t5.As<t5::T5Config>().vocab_size;
  auto num_tokens = static_cast<size_t>(job_.min_text_tokens);
  for (int pass = 0; pass < 2; ++pass) {  // the second with the longest length known
    prompts_.clear();
    for (const std::string& text : texts) {
      INGOT_ASSIGN_OR_RETURN(PromptTokens tokens,
                             TokenizePrompt(text, *clip, *t5, num_tokens, t5_rows));
      num_tokens = std::max(num_tokens, tokens.t5.ids.size());
      prompts_.push_back(std::move(tokens));
    }
  }
  return {};
}

Status FluxPipeline::CompileEncoders() {
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
    INGOT_ASSIGN_OR_RETURN(
        clip_, CompileNetwork("clip", g, models.clip, job_.precision, *device_, {}, num_prompts));
  }
  Graph g;
  const Value ids = g.Input("input_ids", {1, num_tokens}, DType::kI32);
  g.MarkOutput("txt", t5::T5Encoder(g, models.t5.As<t5::T5Config>(), Scope(), ids));
  INGOT_ASSIGN_OR_RETURN(
      t5_, CompileNetwork("t5", g, models.t5, job_.precision, *device_, {}, num_prompts));
  return {};
}

// The rows of all evaluations at once leave memory with their weights before the first step: the
// groups that FitTo tries first.
Status FluxPipeline::CompilePictures() {
  const ModelSet& models = job_.models;
  latent_shape_ = {job_.flux().in_channels / 4, job_.height / 8, job_.width / 8};
  Graph g;
  const Value z =
      g.Input("z", {1, latent_shape_.channels, latent_shape_.height, latent_shape_.width});
  g.MarkOutput("picture", vae::Decode(g, models.vae.As<vae::VaeConfig>(), Scope(),
                                      g.Permute(z, {0, 2, 3, 1}), vae::kFluxLatents));
  const auto& vae_config = models.vae.As<vae::VaeConfig>();
  // Of the last upsampling, in f16.
  const int64_t largest_bytes =
      int64_t{job_.width} * job_.height * vae_config.block_out_channels[1] * 2;
  INGOT_ASSIGN_OR_RETURN(vae_, CompileNetwork("decode", g, models.vae, job_.precision, *device_,
                                              DecoderWays(largest_bytes), job_.batch));
  flux_.reset();
  return CompileTransformer(static_cast<int64_t>(evaluations_.size()));
}

Status FluxPipeline::CompileTransformer(int64_t group_rows) {
  if (flux_ && group_rows == group_rows_) return {};
  const auto num_prompts = static_cast<int64_t>(prompts_.size());
  const auto num_evaluations = static_cast<int64_t>(evaluations_.size());
  const auto num_tokens = static_cast<int64_t>(prompts_[0].t5.ids.size());
  group_rows_ = group_rows;
  Graph g;
  const flux::FluxInputs in = flux::DeclareFluxInputs(
      g, job_.flux(), {.txt_tokens = num_tokens, .img_tokens = latent_shape_.num_patches()});
  g.MarkOutput("velocity", flux::Flux(g, job_.flux(), Scope(), in));
  Hoisted hoisted =
      Hoist(g, {.varying = {kVarying}, .stepwise = {kStepwise}, .num_rows = group_rows});
  crossings_ = std::move(hoisted.crossings);
  const int64_t num_hoists = num_groups() == 1 ? 1 : num_groups() * job_.batch;
  INGOT_ASSIGN_OR_RETURN(
      hoist_, CompileNetwork("hoist", hoisted.hoisted, job_.models.flux, job_.precision, *device_,
                             {}, num_hoists * num_prompts));
  if (flux_) return {};
  INGOT_ASSIGN_OR_RETURN(
      flux_, CompileNetwork("sampling", hoisted.main, job_.models.flux, job_.precision, *device_,
                            TransformerWays(num_tokens + latent_shape_.num_patches()),
                            job_.batch * num_evaluations * num_prompts, device_->WantsF8()));
  return {};
}

int64_t FluxPipeline::num_groups() const {
  const auto num_evaluations = static_cast<int64_t>(evaluations_.size());
  return (num_evaluations + group_rows_ - 1) / group_rows_;
}

}  // namespace ingot
