#include "devices/cpu/conv.h"

#include <algorithm>

#include "devices/cpu/gemm.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "devices/cpu/conv.cc"
#include <hwy/foreach_target.h>  // IWYU pragma: keep

#include "devices/cpu/gemm-inl.h"

#ifndef INGOT_DEVICES_CPU_CONV_ONCE_
#define INGOT_DEVICES_CPU_CONV_ONCE_
namespace ingot::cpu {

struct ConvJob {
  op::Conv2d op;
  const float* x;
  const float* weight;
  const float* bias;  // or null
  float* out;
  int64_t num_channels, height, width;
  int64_t num_filters, out_height, out_width;
  int64_t kernel_height, kernel_width;
  GemmScratch* scratch;  // one a thread

  int64_t num_pixels() const { return out_height * out_width; }
  int64_t num_k() const { return num_channels * kernel_height * kernel_width; }
};

}  // namespace ingot::cpu
#endif  // INGOT_DEVICES_CPU_CONV_ONCE_

HWY_BEFORE_NAMESPACE();
namespace ingot::cpu {
namespace HWY_NAMESPACE {
namespace {

// Output pixels of one tile: one after the other in one picture, across rows.
struct Pixels {
  int64_t picture, first, count;
};

// One element (i, j) of the windows of `count` output pixels from (row, column) on, all in that
// row.
void GatherRow(const ConvJob& job, const float* plane, int64_t i, int64_t j, int64_t row,
               int64_t column, int64_t count, float* out) {
  const int64_t stride = job.op.stride;
  const int64_t y = row * stride + i - job.op.pad_top;
  const int64_t x = column * stride + j - job.op.pad_left;
  if (y < 0 || y >= job.height) {
    std::fill_n(out, count, 0.0f);
    return;
  }
  // Pixels [begin, end) lie inside of the picture.
  const int64_t begin = std::clamp<int64_t>((stride - 1 - x) / stride, 0, count);
  const int64_t end = std::clamp<int64_t>((job.width - x + stride - 1) / stride, begin, count);
  const float* source = plane + y * job.width;
  std::fill(out, out + begin, 0.0f);
  if (stride == 1) {
    std::copy(source + x + begin, source + x + end, out + begin);
  } else {
    for (int64_t n = begin; n < end; ++n) out[n] = source[x + n * stride];
  }
  std::fill(out + end, out + count, 0.0f);
}

// Element k = (channel, i, j) of the windows of all pixels.
void GatherTap(const ConvJob& job, const Pixels& pixels, int64_t k, float* out) {
  const int64_t window = job.kernel_height * job.kernel_width;
  const int64_t i = k % window / job.kernel_width;
  const int64_t j = k % job.kernel_width;
  const float* plane =
      job.x + (pixels.picture * job.num_channels + k / window) * job.height * job.width;
  int64_t row = pixels.first / job.out_width;
  int64_t column = pixels.first % job.out_width;
  for (int64_t done = 0; done < pixels.count;) {
    const int64_t count = std::min(pixels.count - done, job.out_width - column);
    GatherRow(job, plane, i, j, row, column, count, out + done);
    done += count;
    ++row;
    column = 0;
  }
}

void PackWindows(const ConvJob& job, const Pixels& pixels, int64_t k, size_t num_k,
                 GemmScratch& scratch) {
  const size_t num_columns = static_cast<size_t>(pixels.count);
  std::fill_n(scratch.rows, kPanelColumns, 0.0f);
  for (size_t i = 0; i < num_k; ++i) {
    GatherTap(job, pixels, k + static_cast<int64_t>(i), scratch.rows);
    for (size_t column = 0; column < num_columns; column += kTileColumns) {
      std::copy_n(scratch.rows + column, kTileColumns,
                  scratch.panel + PanelOffset(column, num_k) + i * kTileColumns);
    }
  }
}

void RunTile(const ConvJob& job, const Pixels& pixels, GemmScratch& scratch) {
  float* out = job.out + pixels.picture * job.num_filters * job.num_pixels() + pixels.first;
  for (int64_t o = 0; o < job.num_filters; ++o) {
    const float bias = job.bias != nullptr ? job.bias[o] : 0.0f;
    std::fill_n(out + o * job.num_pixels(), pixels.count, bias);
  }
  const int64_t num_k = job.num_k();
  for (int64_t k = 0; k < num_k; k += static_cast<int64_t>(kBlockK)) {
    const size_t block_k = std::min(kBlockK, static_cast<size_t>(num_k - k));
    PackWindows(job, pixels, k, block_k, scratch);
    MultiplyPanel({.a = job.weight + k,
                   .a_stride = static_cast<size_t>(num_k),
                   .c = out,
                   .c_stride = static_cast<size_t>(job.num_pixels()),
                   .num_rows = static_cast<size_t>(job.num_filters),
                   .num_k = block_k,
                   .num_columns = static_cast<size_t>(pixels.count)},
                  scratch);
  }
}

void RunConvItem(const ConvJob& job, size_t item, GemmScratch& scratch) {
  const int64_t columns = static_cast<int64_t>(kPanelColumns);
  const int64_t num_tiles = (job.num_pixels() + columns - 1) / columns;
  const int64_t first = static_cast<int64_t>(item) % num_tiles * columns;
  RunTile(job,
          {.picture = static_cast<int64_t>(item) / num_tiles,
           .first = first,
           .count = std::min(columns, job.num_pixels() - first)},
          scratch);
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace ingot::cpu
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace ingot::cpu {

HWY_EXPORT(RunConvItem);

int64_t WorkspaceBytes(const op::Conv2d&, const OpSignature&, size_t num_threads) {
  return static_cast<int64_t>(num_threads * sizeof(GemmScratch));
}

void Run(const op::Conv2d& op, const OpCall& call, ThreadPool& pool) {
  const ConstTensorView& x = call.inputs[0];
  const Shape& weight = call.inputs[1].shape;
  const Shape& out = call.output.shape;
  const ConvJob job{.op = op,
                    .x = x.As<float>().data(),
                    .weight = call.inputs[1].As<float>().data(),
                    .bias = call.inputs.size() == 3 ? call.inputs[2].As<float>().data() : nullptr,
                    .out = call.output.As<float>().data(),
                    .num_channels = x.shape[1],
                    .height = x.shape[2],
                    .width = x.shape[3],
                    .num_filters = out[1],
                    .out_height = out[2],
                    .out_width = out[3],
                    .kernel_height = weight[2],
                    .kernel_width = weight[3],
                    .scratch = reinterpret_cast<GemmScratch*>(call.workspace.data())};
  const size_t num_pixels = static_cast<size_t>(job.num_pixels());
  // One captured reference: more would make std::function allocate (promise P3).
  pool.ParallelFor(static_cast<size_t>(out[0]) * hwy::DivCeil(num_pixels, kPanelColumns),
                   [&job](size_t item, size_t thread) {
                     HWY_DYNAMIC_DISPATCH(RunConvItem)(job, item, job.scratch[thread]);
                   });
}

}  // namespace ingot::cpu
#endif  // HWY_ONCE
