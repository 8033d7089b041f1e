#include "devices/cpu/conv.h"

#include <algorithm>

#include "base/check.h"
#include "devices/cpu/conv_job.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "devices/cpu/conv.cc"
#include <hwy/foreach_target.h>  // IWYU pragma: keep

#include "devices/cpu/conv_filters-inl.h"
#include "devices/cpu/conv_tiles-inl.h"

HWY_BEFORE_NAMESPACE();
namespace ingot::cpu {
namespace HWY_NAMESPACE {
namespace {

template <class Element>
void RunChunk(const ConvJob& job, const Chunk& chunk) {
  PackTiles<Element>(job, chunk);
  for (size_t phase = 0; phase < job.cut.num_phases; ++phase) {
    for (size_t begin = chunk.filters.begin; begin < chunk.filters.end; begin += kSubgroup) {
      const size_t end = std::min(begin + kSubgroup, chunk.filters.end);
      MultiplyPhase<Element>(job, chunk, phase, {begin, end});
      StoreTiles(job, chunk, phase, {begin, std::min(end, job.cut.filters - job.first_filter)});
    }
  }
}

void PackFiltersItem(const ConvJob& job, size_t item, size_t thread) {
  if (job.op.compute == op::Compute::kI16) return PackFilters<int16_t>(job, item, thread);
  PackFilters<float>(job, item, thread);
}

void RunChunkItem(const ConvJob& job, size_t item, size_t thread) {
  const Chunk chunk = ChunkOf(job, item, thread);
  if (job.op.compute == op::Compute::kI16) return RunChunk<int16_t>(job, chunk);
  RunChunk<float>(job, chunk);
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace ingot::cpu
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace ingot::cpu {

HWY_EXPORT(PackFiltersItem);
HWY_EXPORT(RunChunkItem);

namespace {

const ConstTensorView& Operand(const OpCall& call, int idx) {
  return call.inputs[static_cast<size_t>(idx)];
}

void FoldNorms(const ConvJob& job, const OpCall& call) {
  const op::Conv2dOperands at = op::OperandsOf(job.op);
  const ConstTensorView& stats = Operand(call, at.stats);
  const size_t num_groups = static_cast<size_t>(stats.shape[1]);
  for (size_t picture = 0; picture < job.batch; ++picture) {
    const ChannelNorm norm = job.Norm(picture);
    std::fill_n(norm.mean, 3 * job.cut.padded_channels(), 0.0f);  // zeros stay zeros
    FoldGroupNorm(stats.As<float>().data() + picture * num_groups * 2, num_groups,
                  Operand(call, at.norm_weight).As<float>().data(),
                  Operand(call, at.norm_bias).As<float>().data(), job.channels, norm);
  }
}

// Chunks of at most cut.max_tiles tiles, and filters in parts where chunks are too few for the
// threads: a part packs the tiles anew.
void ShareOut(ConvJob& job, size_t num_threads) {
  const ConvCut& cut = job.cut;
  const size_t tile_height = cut.tile * cut.output_scale();
  job.tile_rows = {static_cast<size_t>(job.first_out) / tile_height,
                   CeilDivide(static_cast<size_t>(job.first_out + job.num_out), tile_height)};
  job.tile_columns = CeilDivide(static_cast<size_t>(job.out_width), tile_height);
  job.parts_wide = CeilDivide(job.tile_columns, cut.max_wide);
  const size_t wide = CeilDivide(job.tile_columns, job.parts_wide);
  job.parts_high = CeilDivide(job.tile_rows.size(), cut.max_tiles / wide);
  const size_t num_chunks = job.batch * job.parts_high * job.parts_wide;
  const size_t wanted = num_threads == 1 ? 1 : CeilDivide(2 * num_threads, num_chunks);
  job.parts_filters = std::clamp<size_t>(job.num_filters / kSubgroup, 1, wanted);
}

void RunGroup(ConvJob& job, ThreadPool& pool) {
  ShareOut(job, pool.num_threads());
  // One captured reference: more would make std::function allocate (promise P3).
  pool.ParallelFor(job.num_filters / kFilterUnit * job.cut.num_phases * job.cut.num_blocks,
                   [&job](size_t item, size_t thread) {
                     HWY_DYNAMIC_DISPATCH(PackFiltersItem)(job, item, thread);
                   });
  pool.ParallelFor(job.batch * job.parts_high * job.parts_wide * job.parts_filters,
                   [&job](size_t item, size_t thread) {
                     HWY_DYNAMIC_DISPATCH(RunChunkItem)(job, item, thread);
                   });
}

}  // namespace

int64_t WorkspaceBytes(const op::Conv2d& op, const OpSignature& signature, size_t num_threads) {
  const Shape& x = signature.input_shapes[0];
  const int weight = op::OperandsOf(op).weight;
  const ConvCut cut(op, x, signature.input_shapes[static_cast<size_t>(weight)]);
  const ConvLayout layout(cut, static_cast<size_t>(x[0]));
  return static_cast<int64_t>(layout.first_thread + num_threads * layout.thread_bytes);
}

void Run(const op::Conv2d& op, const OpCall& call, ThreadPool& pool) {
  const op::Conv2dOperands at = op::OperandsOf(op);
  const ConstTensorView& x = call.inputs[0];
  const ConstTensorView& weight = Operand(call, at.weight);
  const Shape &w = weight.shape, &out = call.output.shape;
  const Strip strip = call.strip != nullptr ? *call.strip : Strip{.picture_rows = x.shape[1]};
  INGOT_CHECK(strip.begin % kStripGrid == 0);
  const ConvCut cut(op, {x.shape[0], strip.picture_rows, x.shape[2], x.shape[3]}, w);
  const ConvLayout layout(cut, static_cast<size_t>(x.shape[0]));
  ConvJob job{.op = op,
              .cut = cut,
              .layout = layout,
              .workspace = call.workspace.data(),
              .x = PixelsOf(x),
              .residual = op.residual ? PixelsOf(Operand(call, at.residual)) : Pixels(),
              .out = PixelsOf(call.output),
              .weight = {weight.dtype, {w[0], w[1] * w[2] * w[3]}, weight.data, weight.scale},
              .bias = op.has_bias ? Operand(call, at.bias).As<float>().data() : nullptr,
              .batch = static_cast<size_t>(x.shape[0]),
              .channels = static_cast<size_t>(x.shape[3]),
              .width = x.shape[2],
              .height = strip.picture_rows,
              .first_row = strip.window_begin,
              .num_rows = x.shape[1],
              .out_width = out[2],
              .first_out = strip.begin,
              .num_out = out[1]};
  if (op.norm_silu) FoldNorms(job, call);
  for (size_t first = 0; first < cut.filters; first += cut.group) {
    job.first_filter = first;
    job.num_filters = RoundUp(std::min(cut.group, cut.filters - first), kFilterUnit);
    RunGroup(job, pool);
  }
}

}  // namespace ingot::cpu
#endif  // HWY_ONCE
