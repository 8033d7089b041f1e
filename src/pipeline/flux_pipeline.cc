#include "pipeline/flux_pipeline.h"

#include <malloc.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <iterator>

#include "base/sha256.h"
#include "base/stopwatch.h"
#include "sampling/brownian_tree.h"

namespace ingot {
namespace {

template <typename T>
void Copy(std::span<const T> from, std::span<T> to) {
  INGOT_CHECK(from.size() == to.size());
  std::copy(from.begin(), from.end(), to.begin());
}

Status CheckFinite(std::span<const float> values, std::string_view phase, const Component& from) {
  if (AllFinite(values)) return {};
  return NotFinite("{}: expected finite numbers from {}, found NaN or Inf", phase, from.path());
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

Result<Record> FluxPipeline::Run(const RunContext& context) {
  Record record;
  record.plan = plan_;
  // A phase that is fitted to less memory is not that of the plan any more, however the job ends.
  if (has_vram_) has_plan_ = false;
  std::vector<Conditioning> conds(prompts_.size());
  std::vector<std::vector<float>> latents;
  const std::string rows_key = RowsKey();
  const std::string flux_key = flux_->program().ResidentsKey();
  const std::string vae_key = vae_->program().ResidentsKey();
  const std::vector<std::string> job_keys = {rows_key, flux_key, vae_key};

  // What the phase takes of what is kept (`takes`) is counted in its peak.
  const auto make_room = [&](KeptMemory& kept, int64_t num_bytes, const std::string& takes) {
    kept.MakeRoom(num_bytes, job_keys, takes);
    return kept.num_bytes_beside(takes);
  };
  const auto run_phase = [&](const PhasePlan& phase, const std::string& takes,
                             const auto& body) -> Status {
    // What the phase before has freed would stand beside the arena: rows of a step are too small to
    // be mappings of their own.
    ::malloc_trim(0);
    if (context.kept != nullptr) {
      const int64_t kept = make_room(
          *context.kept, budget_.ram_bytes - plan_.fixed_bytes - phase.peak_bytes(), takes);
      record.kept_bytes = std::max(record.kept_bytes, kept);
      if (context.counters != nullptr) context.counters->kept_bytes = record.kept_bytes;
    }
    if (context.kept_on_device != nullptr) {
      const int64_t room =
          std::min(budget_.vram_bytes, context.device.copy_engine()->AvailableBytes());
      const int64_t kept = make_room(*context.kept_on_device,
                                     room - plan_.fixed_vram_bytes - phase.vram_bytes, takes);
      record.kept_vram_bytes = std::max(record.kept_vram_bytes, kept);
      if (context.counters != nullptr) context.counters->kept_vram_bytes = record.kept_vram_bytes;
    }
    if (context.progress) context.progress({.phase = phase.name});
    PhaseMeasure& measure = record.phases.emplace_back();
    measure.name = phase.name;
    const TracePhase trace(context.device.trace(), measure.name);
    const Stopwatch watch;
    const Status status = body(measure);
    measure.seconds = watch.seconds();
    return status;
  };
  INGOT_RETURN_IF_ERROR(run_phase(plan_.phases[0], "", [&](PhaseMeasure& measure) {
    return EncodeClip(context, conds, measure);
  }));
  INGOT_RETURN_IF_ERROR(run_phase(plan_.phases[1], "", [&](PhaseMeasure& measure) {
    return EncodeT5(context, conds, measure);
  }));
  INGOT_RETURN_IF_ERROR(run_phase(plan_.phases[2], rows_key, [&](PhaseMeasure& measure) -> Status {
    if (num_groups() > 1) return {};  // between the steps
    if (context.kept != nullptr) {
      INGOT_ASSIGN_OR_RETURN(const bool is_there, TakeRows(*context.kept, rows_key, conds));
      if (is_there) return {};
    }
    return HoistAll(context, conds, measure);
  }));
  const Status sampled = run_phase(plan_.phases[3], flux_key, [&](PhaseMeasure& measure) {
    return SamplePictures(context, conds, latents, measure);
  });
  if (context.kept != nullptr && num_groups() == 1) KeepRows(*context.kept, rows_key, conds);
  conds = {};
  INGOT_RETURN_IF_ERROR(sampled);
  INGOT_RETURN_IF_ERROR(run_phase(plan_.phases[4], vae_key, [&](PhaseMeasure& measure) {
    return DecodePictures(context, latents, record.pictures, measure);
  }));
  has_plan_ = std::ranges::none_of(record.phases, &PhaseMeasure::num_refits);
  return record;
}

Result<PhaseRun> FluxPipeline::Begin(Phase& phase, int64_t carried_bytes, const RunContext& context,
                                     bool keeps_weights, const Phase* beside) const {
  return PhaseRun::Begin(
      phase, context.device,
      {.kept = has_vram_ ? context.kept_on_device : context.kept,
       .keeps_weights = keeps_weights,
       .execution = {.scratch_folder = context.scratch_folder, .counters = context.counters},
       .fixed = fixed_,
       .beside_bytes = beside != nullptr ? beside->num_bytes() : 0,
       .host_room = budget_.ram_bytes - plan_.fixed_bytes - carried_bytes -
                    (beside != nullptr ? beside->host_bytes() + beside->held_bytes() : 0)},
      context.stop);
}

std::string FluxPipeline::RowsKey() const {
  std::string all = fmt::format("{}x{} {} {}", latent_shape_.width, latent_shape_.height,
                                job_.distilled_guidance, Name(job_.precision));
  const auto add = [&](const auto& values) {
    all += fmt::format("\n{}: {}", values.size(), fmt::join(values, " "));
  };
  add(evaluations_);
  for (const PromptTokens& prompt : prompts_) {
    add(prompt.clip.ids);
    add(std::array{prompt.clip_end_idx});
    add(prompt.t5.ids);
    add(prompt.t5.weights);
  }
  for (const Component* from : {&job_.models.flux, &job_.models.clip, &job_.models.t5}) {
    all += fmt::format("\n{}", from->tensors.file->file().identity());
  }
  return fmt::format("rows {}", Sha256(std::as_bytes(std::span(all))));
}

Result<bool> FluxPipeline::TakeRows(KeptMemory& kept, const std::string& key,
                                    std::vector<Conditioning>& conds) const {
  // What a read would have found.
  INGOT_RETURN_IF_ERROR(job_.models.flux.tensors.file->file().CheckUnchanged());
  std::optional<KeptMemory::Rows> rows = kept.TakeRows(key);
  if (!rows) return false;
  auto row = rows->begin();
  for (Conditioning& cond : conds) {
    cond.hoisted.assign(std::move_iterator(row),
                        std::move_iterator(row + static_cast<std::ptrdiff_t>(crossings_.size())));
    row += static_cast<std::ptrdiff_t>(crossings_.size());
    cond.group = 0;
  }
  return true;
}

void FluxPipeline::KeepRows(KeptMemory& kept, const std::string& key,
                            std::vector<Conditioning>& conds) const {
  KeptMemory::Rows rows;
  for (Conditioning& cond : conds) std::ranges::move(cond.hoisted, std::back_inserter(rows));
  kept.KeepRows(key, std::move(rows));
}

Status FluxPipeline::EncodeClip(const RunContext& context, std::vector<Conditioning>& conds,
                                PhaseMeasure& measure) {
  std::optional<PhaseRun> clip;  // where a prompt is not known
  for (size_t i = 0; i < prompts_.size(); ++i) {
    std::vector<float>& pooled = conds[i].pooled;
    pooled.resize(static_cast<size_t>(job_.flux().vec_in_dim));
    const std::string key = EmbeddingCache::Key("clip", job_.models.clip, prompts_[i].clip,
                                                job_.precision, context.device.name());
    if (context.embeddings != nullptr && context.embeddings->Load(key, pooled)) continue;
    if (!clip) {
      INGOT_ASSIGN_OR_RETURN(clip, Begin(*clip_, 0, context));
    }
    Copy<int32_t>(prompts_[i].clip.ids, (*clip)->Input("input_ids").As<int32_t>());
    (*clip)->Input("eos_idx").As<int32_t>()[0] = prompts_[i].clip_end_idx;
    INGOT_RETURN_IF_ERROR((*clip)->Run(context.stop));
    Copy<float>((*clip)->Output("pooled").As<float>(), pooled);
    INGOT_RETURN_IF_ERROR(CheckFinite(pooled, "clip", job_.models.clip));
    if (context.embeddings != nullptr) context.embeddings->Store(key, pooled);
  }
  if (clip) clip->Measure(measure);
  return {};
}

Status FluxPipeline::EncodeT5(const RunContext& context, std::vector<Conditioning>& conds,
                              PhaseMeasure& measure) {
  std::optional<PhaseRun> t5;  // where a prompt is not known
  for (size_t i = 0; i < prompts_.size(); ++i) {
    std::vector<float>& txt = conds[i].txt;
    txt.resize(prompts_[i].t5.ids.size() * static_cast<size_t>(job_.flux().context_in_dim));
    const std::string key = EmbeddingCache::Key("t5", job_.models.t5, prompts_[i].t5,
                                                job_.precision, context.device.name());
    if (context.embeddings != nullptr && context.embeddings->Load(key, txt)) continue;
    if (!t5) {
      INGOT_ASSIGN_OR_RETURN(t5, Begin(*t5_, carried().t5, context));
    }
    Copy<int32_t>(prompts_[i].t5.ids, (*t5)->Input("input_ids").As<int32_t>());
    INGOT_RETURN_IF_ERROR((*t5)->Run(context.stop));
    Copy<float>((*t5)->Output("txt").As<float>(), txt);
    INGOT_RETURN_IF_ERROR(CheckFinite(txt, "t5", job_.models.t5));
    ApplyEmphasis(prompts_[i].t5.weights, txt);
    if (context.embeddings != nullptr) context.embeddings->Store(key, txt);
  }
  if (t5) t5->Measure(measure);
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
  const std::span<float> sigmas = hoist.Input("timesteps").As<float>();
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

Status FluxPipeline::HoistAll(const RunContext& context, std::vector<Conditioning>& conds,
                              PhaseMeasure& measure) {
  INGOT_ASSIGN_OR_RETURN(const PhaseRun hoist, Begin(*hoist_, carried().hoist, context));
  for (Conditioning& cond : conds) INGOT_RETURN_IF_ERROR(HoistGroup(*hoist, 0, cond, context.stop));
  hoist.Measure(measure);
  return {};
}

Status FluxPipeline::SamplePictures(const RunContext& context, std::vector<Conditioning>& conds,
                                    std::vector<std::vector<float>>& latents,
                                    PhaseMeasure& measure) {
  std::stop_source either;  // of both ways to end it
  const auto request_stop = [&] { either.request_stop(); };
  const std::stop_callback on_stop(context.stop, request_stop);
  const std::stop_callback on_interrupt(context.interrupt, request_stop);
  const std::stop_token stop = either.get_token();
  const int64_t carried_bytes = carried().sampling;
  std::optional<PhaseRun> hoist;  // where it runs between steps
  if (num_groups() > 1) {
    INGOT_ASSIGN_OR_RETURN(hoist, Begin(*hoist_, carried_bytes, context, false, &*flux_));
  }
  INGOT_ASSIGN_OR_RETURN(PhaseRun flux,
                         Begin(*flux_, carried_bytes, context, true, hoist ? &*hoist_ : nullptr));
  const auto num_elements = static_cast<size_t>(latent_shape_.num_elements());
  std::vector<float> scratch(num_elements * static_cast<size_t>(job_.sampler->num_buffers));
  std::vector<float> tree_scratch(num_elements * BrownianTree::kNumBuffers);
  std::vector<float> unconditional(conds.size() > 1 ? num_elements : 0);
  const LatentRgbFactors factors =
      ReadLatentRgbFactors(job_.models.vae.tensors.file->metadata(), latent_shape_.channels);
  std::vector<uint8_t> preview_pixels(
      static_cast<size_t>(latent_shape_.height * latent_shape_.width * 3));
  const Preview preview = {.width = static_cast<int>(latent_shape_.width),
                           .height = static_cast<int>(latent_shape_.height),
                           .pixels = preview_pixels};

  // denoised = x - sigma * v; with CFG: uncond + cfg * (cond - uncond).
  size_t evaluation = 0;  // of this picture
  const auto group_rows = static_cast<size_t>(group_rows_);
  const auto denoise_one = [&](Conditioning& cond, std::span<const float> x, float sigma,
                               std::span<float> denoised) -> Status {
    if (hoist) {
      INGOT_RETURN_IF_ERROR(HoistGroup(**hoist, evaluation / group_rows, cond, stop));
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
                              if (context.progress) {
                                FillPreview(factors, latent_shape_, step.denoised, preview_pixels);
                                context.progress({.phase = "sampling",
                                                  .step = picture * num_steps + step.step_idx + 1,
                                                  .num_steps = job_.batch * num_steps,
                                                  .preview = &preview});
                              }
                              const bool is_last =
                                  picture + 1 == job_.batch && step.step_idx + 1 == num_steps;
                              return is_last ? Status() : flux.Yield(context.stop);
                            },
                            .eta = job_.eta};
    const Status sampled = Sample(*job_.sampler, run);
    if (sampled.code() == StatusCode::kCancelled && picture > 0 && !context.stop.stop_requested()) {
      latents.pop_back();
      break;
    }
    INGOT_RETURN_IF_ERROR(sampled);
    INGOT_RETURN_IF_ERROR(CheckFinite(x, "sampling", job_.models.flux));
  }
  flux.Measure(measure);
  if (hoist) hoist->Measure(measure);
  return {};
}

Status FluxPipeline::DecodePictures(const RunContext& context,
                                    const std::vector<std::vector<float>>& latents,
                                    std::vector<Picture>& pictures, PhaseMeasure& measure) {
  INGOT_ASSIGN_OR_RETURN(const PhaseRun vae, Begin(*vae_, carried().decode, context, true));
  for (size_t i = 0; i < latents.size(); ++i) {
    Copy<float>(latents[i], vae->Input("z").As<float>());
    INGOT_RETURN_IF_ERROR(vae->Run(context.stop));
    const std::span<const float> x = vae->Output("picture").As<float>();
    INGOT_RETURN_IF_ERROR(CheckFinite(x, "decode", job_.models.vae));
    pictures.push_back({job_.width, job_.height, job_.seed + i, ToRgb8(x)});
    if (context.progress) {
      context.progress({.phase = "decode",
                        .step = static_cast<int>(i) + 1,
                        .num_steps = static_cast<int>(latents.size())});
    }
  }
  vae.Measure(measure);
  return {};
}

}  // namespace ingot
