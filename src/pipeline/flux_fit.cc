// Of FluxPipeline: from networks and a budget to the plan.
#include <algorithm>

#include "pipeline/flux_pipeline.h"
#include "sampling/brownian_tree.h"

namespace ingot {
namespace {

// The process beside the plan's arenas, measured with one and two threads at the end of the largest
// phase: code and libraries (12.8 MiB of mapped files, where all of them are in the page cache),
// stacks; and on the heap the networks, compiled, with the headers of their files. In MiB:
//
//                                    nodes   measured       planned
//   demo model                         652   13.2 to 13.7      14.9
//   flux-mini, T5 of two layers        958   14.8 to 14.9      15.3
//   flux-mini, T5-XXL                 1463   15.1              15.8
//   FLUX.1, T5-XXL                    3758   16.6              18.2
constexpr int64_t kProcessBytes = 57 << 18;  // 14.25 MiB
constexpr int64_t kBytesPerNode = 1100;

}  // namespace

int64_t FluxPipeline::fixed_bytes() const {
  size_t num_nodes = 0;
  for (const Phase* phase : {&*clip_, &*t5_, &*hoist_, &*flux_, &*vae_}) {
    num_nodes += phase->program().graph().nodes().size();
  }
  return kProcessBytes + static_cast<int64_t>(num_nodes) * kBytesPerNode + fixed_.host;
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
          .sampling = embeddings + rows + latent * (job_.batch + buffers + num_prompts - 1) +
                      latent_shape_.height * latent_shape_.width * 3,  // the preview
          .decode = job_.batch * (latent + int64_t{job_.width} * job_.height * 3)};
}

FluxPipeline::Least FluxPipeline::LeastOfGroups() {
  const int64_t clip = clip_->least_bytes(), t5 = t5_->least_bytes();
  const int64_t hoist = hoist_->least_bytes(), flux = flux_->least_bytes();
  const int64_t vae = vae_->least_bytes();
  const int64_t beside = num_groups() > 1 ? hoist : 0;
  if (!has_vram_) return {.ram_bytes = PeakOf(clip, t5, hoist, flux + beside, vae)};
  return {.ram_bytes = LeastHostPeak(),
          .vram_bytes = fixed_.device + std::max({clip, t5, hoist, flux + beside, vae})};
}

int64_t FluxPipeline::HostPeak() const {
  const int64_t beside = num_groups() > 1 ? hoist_->host_bytes() : 0;
  return PeakOf(clip_->host_bytes(), t5_->host_bytes(), hoist_->host_bytes(),
                flux_->host_bytes() + beside, vae_->host_bytes());
}

int64_t FluxPipeline::LeastHostPeak() {
  const int64_t beside = num_groups() > 1 ? hoist_->least_host_bytes() : 0;
  return PeakOf(clip_->least_host_bytes(), t5_->least_host_bytes(), hoist_->least_host_bytes(),
                flux_->least_host_bytes() + beside, vae_->least_host_bytes());
}

int64_t FluxPipeline::PeakOf(int64_t clip, int64_t t5, int64_t hoist, int64_t flux,
                             int64_t vae) const {
  const Carried carry = carried();
  return fixed_bytes() + std::max({clip, t5 + carry.t5, hoist + carry.hoist, flux + carry.sampling,
                                   vae + carry.decode});
}

// The rows of all evaluations at once, or one at a time: these take less, but stand beside the
// transformer.
FluxPipeline::Least FluxPipeline::FindLeast() {
  ReadFixedBytes();
  const auto of_groups = [&](int64_t rows) {
    INGOT_CHECK(CompileTransformer(rows).ok());  // as it was with other rows
    return LeastOfGroups();
  };
  const Least all = of_groups(static_cast<int64_t>(evaluations_.size())), one = of_groups(1);
  // With memory of its own on the device, one number must do for either in RAM: the larger.
  if (has_vram_) {
    return {std::max(all.ram_bytes, one.ram_bytes), std::min(all.vram_bytes, one.vram_bytes)};
  }
  return {.ram_bytes = std::min(all.ram_bytes, one.ram_bytes)};
}

void FluxPipeline::ReadFixedBytes() {
  if (const CopyEngine* copies = device_->copy_engine()) fixed_ = copies->fixed_bytes();
}

// The rows of all evaluations at once, if they fit; else groups of half as many, and again: the
// modulation is read once a group.
Status FluxPipeline::FitTo(const Budget& budget, const std::optional<DeviceRates>& rates) {
  const FixedBytes planned_fixed = fixed_;
  ReadFixedBytes();
  if (has_plan_ && budget == budget_ && rates == rates_ && fixed_ == planned_fixed) return {};
  has_plan_ = false;
  budget_ = budget;
  rates_ = rates;
  Status status;
  for (auto rows = static_cast<int64_t>(evaluations_.size());; rows = (rows + 1) / 2) {
    INGOT_RETURN_IF_ERROR(CompileTransformer(rows));
    status = FitPhases();
    if (status.code() != StatusCode::kOutOfBudget || rows == 1) break;
  }
  INGOT_RETURN_IF_ERROR(status);
  INGOT_RETURN_IF_ERROR(KeepWeights());
  HoldInRam();
  MakePlan(rates ? &*rates : nullptr);
  has_plan_ = true;
  return {};
}

// Weights that the next job of this model wants again stay until it comes (runtime/kept_memory.h)
// if they are resident. The decoder's are wherever they fit; a transformer that runs once has many
// more, and they are only where the peak stays as it is.
Status FluxPipeline::KeepWeights() {
  const Carried carry = carried();
  INGOT_RETURN_IF_ERROR(vae_->KeepWeights(Room(carry.decode)));
  MakePlan(nullptr);
  const int64_t hoist_beside = num_groups() > 1 ? hoist_->least_bytes() : 0;
  const int64_t peak = has_vram_ ? plan_.peak_vram_bytes() - fixed_.device
                                 : plan_.peak_ram_bytes() - fixed_bytes() - carry.sampling;
  Phase::Room room = Room(carry.sampling);
  room.num_bytes = peak - hoist_beside;
  return flux_->KeepWeights(room);
}

// What the device has no memory for comes over its link in every step, from the RAM that is left: a
// disk gives a tenth of what a link carries.
void FluxPipeline::HoldInRam() {
  if (!has_vram_) return;
  int64_t room = budget_.ram_bytes - fixed_bytes() - carried().sampling - flux_->host_bytes();
  if (num_groups() > 1) room -= hoist_->host_bytes();
  flux_->HoldInRam(room);
  if (num_groups() > 1) hoist_->HoldInRam(room - flux_->held_bytes());
}

Phase::Room FluxPipeline::Room(int64_t carried) const {
  const int64_t tier_bytes = has_vram_ ? budget_.vram_bytes : budget_.ram_bytes;
  const int64_t beside_bytes = has_vram_ ? fixed_.device : fixed_bytes() + carried;
  return {.num_bytes = tier_bytes - beside_bytes,
          .beside_bytes = beside_bytes,
          .forge_inference_memory = budget_.forge_inference_memory};
}

Status FluxPipeline::FitPhases() {
  const Carried carry = carried();
  INGOT_RETURN_IF_ERROR(clip_->FitTo(Room(0)));
  INGOT_RETURN_IF_ERROR(t5_->FitTo(Room(carry.t5)));
  INGOT_RETURN_IF_ERROR(vae_->FitTo(Room(carry.decode)));
  // In groups it runs between steps, beside the transformer.
  const bool in_groups = num_groups() > 1;
  Phase::Room of_hoist = Room(carry.hoist), of_flux = Room(carry.sampling);
  if (in_groups) {
    of_hoist = {.num_bytes = hoist_->least_bytes()};
    of_flux.num_bytes -= hoist_->least_bytes();
    of_flux.beside_bytes += hoist_->least_bytes();
  }
  INGOT_RETURN_IF_ERROR(hoist_->FitTo(of_hoist));
  INGOT_RETURN_IF_ERROR(flux_->FitTo(of_flux));
  if (!has_vram_) return {};
  const int64_t least = HostPeak();
  if (least <= budget_.ram_bytes) return {};
  return OutOfBudget("expected at least {} bytes of RAM, found {}", least, budget_.ram_bytes);
}

void FluxPipeline::MakePlan(const DeviceRates* rates) {
  for (Phase* phase : {&*clip_, &*t5_, &*hoist_, &*flux_, &*vae_}) phase->Settle();
  plan_ = {.phases = {clip_->Plan(rates), t5_->Plan(rates), hoist_->Plan(rates), flux_->Plan(rates),
                      vae_->Plan(rates)},
           .fixed_bytes = fixed_bytes(),
           .fixed_vram_bytes = fixed_.device,
           .num_steps = job_.steps};
  const Carried carry = carried();
  plan_.phases[1].carried_bytes = carry.t5;
  plan_.phases[2].carried_bytes = carry.hoist;
  plan_.phases[3].carried_bytes = carry.sampling;
  plan_.phases[4].carried_bytes = carry.decode;
  if (num_groups() == 1) return;
  PhasePlan &hoist = plan_.phases[2], &sampling = plan_.phases[3];
  hoist.num_parts = static_cast<int>(num_groups());
  sampling.arena_bytes += hoist.arena_bytes + hoist.resident_bytes + hoist.ring_bytes;
  sampling.vram_bytes += hoist.vram_bytes;
  sampling.host_bytes += hoist.host_bytes;
  sampling.max_live_bytes += hoist.max_live_bytes + hoist.ring_bytes;
  if (rates == nullptr) return;
  *sampling.predicted_s += *hoist.predicted_s;
  hoist.predicted_s = 0;
}

}  // namespace ingot
