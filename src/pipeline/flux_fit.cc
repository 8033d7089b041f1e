// Of FluxPipeline: from networks and a budget to the plan.
#include <algorithm>

#include "pipeline/flux_pipeline.h"
#include "sampling/brownian_tree.h"

namespace ingot {
namespace {

// The process beside the plan's arenas, measured with two threads: code, libraries, stacks; and on
// the heap the networks, compiled, with the headers of their files.
constexpr int64_t kProcessBytes = 27 << 19;  // 13.5 MiB
constexpr int64_t kBytesPerNode = 1400;

}  // namespace

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
          .sampling = embeddings + rows + latent * (job_.batch + buffers + num_prompts - 1) +
                      latent_shape_.height * latent_shape_.width * 3,  // the preview
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
  ram_bytes_ = ram_bytes;
  INGOT_RETURN_IF_ERROR(KeepWeights());
  MakePlan();
  return {};
}

// Weights that the next job of this model wants again stay until it comes (runtime/kept_memory.h)
// if they are resident. The decoder's are wherever they fit; a transformer that runs once has many
// more, and they are only where the peak stays as it is.
Status FluxPipeline::KeepWeights() {
  const Carried carry = carried();
  INGOT_RETURN_IF_ERROR(vae_->KeepWeights(ram_bytes_ - fixed_bytes() - carry.decode));
  MakePlan();
  const int64_t hoist_beside = num_groups() > 1 ? hoist_->least_bytes() : 0;
  return flux_->KeepWeights(plan_.peak_ram_bytes() - fixed_bytes() - carry.sampling - hoist_beside);
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

}  // namespace ingot
