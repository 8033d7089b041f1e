#include "devices/cpu/linear_f32.h"

#include <algorithm>

#include "devices/cpu/gemm.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "devices/cpu/linear_f32.cc"
#include <hwy/foreach_target.h>  // IWYU pragma: keep

#include "devices/cpu/dequantize-inl.h"
#include "devices/cpu/gemm-inl.h"
#include "devices/cpu/linear_rows-inl.h"
#include "devices/cpu/linear_store-inl.h"
#include "devices/cpu/transpose-inl.h"

#ifndef INGOT_DEVICES_CPU_LINEAR_F32_ONCE_
#define INGOT_DEVICES_CPU_LINEAR_F32_ONCE_
namespace ingot::cpu {

// Rows [begin, begin + count) of the call against all features.
struct F32Job {
  const LinearCall& call;
  float* made;  // the rows as the prologue makes them [kLinearF32Rows][K]; null where it does not
  GemmScratch* scratch;  // one a thread
  float* sums;           // [kLinearF32Rows or fewer][kPanelColumns] a thread
  size_t sums_rows;
  size_t begin, count;
};

}  // namespace ingot::cpu
#endif  // INGOT_DEVICES_CPU_LINEAR_F32_ONCE_

HWY_BEFORE_NAMESPACE();
namespace ingot::cpu {
namespace HWY_NAMESPACE {
namespace {

// Weights of the panel's features at [k, k + n), transposed; zeros behind the last feature.
void PackWeights(const F32Job& job, size_t feature, size_t num_features, size_t k, size_t n,
                 GemmScratch& scratch) {
  const hn::ScalableTag<uint32_t> d;
  const WeightRuns weight(job.call.weight);
  const float scale = job.call.weight.scale;
  alignas(64) float rows[kTransposedRows][kBlockK];
  const size_t num_columns = hwy::RoundUpTo(num_features, kTileColumns);
  for (size_t column = 0; column < num_columns; column += kTransposedRows) {
    for (size_t r = 0; r < kTransposedRows; ++r) {
      if (column + r >= num_features) {
        std::fill_n(rows[r], hwy::RoundUpTo(n, kLanes), 0.0f);
        continue;
      }
      // The feature's next run: features lie too far apart for the processor to see it.
      weight.Prefetch(feature + column + r, k / kBlockK + 1);
      weight.Dequantize(feature + column + r, k / kBlockK, rows[r]);
      if (scale == 1.0f) continue;
      for (size_t i = 0; i < n; ++i) rows[r][i] *= scale;
    }
    float* panel = scratch.panel + PanelOffset(column, n);
    size_t i = 0;
    for (; i + kLanes <= n; i += kLanes) {
      const auto load = [&](size_t r) INGOT_UNROLLED {
        return hn::Load(d, reinterpret_cast<const uint32_t*>(rows[r] + i));
      };
      TransposeDwords(load, reinterpret_cast<uint32_t*>(panel + i * kTileColumns), kTileColumns);
    }
    for (; i < n; ++i) {
      for (size_t r = 0; r < kTransposedRows; ++r) panel[i * kTileColumns + r] = rows[r][i];
    }
  }
}

// Row `item` of the job as the prologue makes it.
void MakeWholeRow(const F32Job& job, size_t item) {
  const size_t row = job.begin + item, num_k = job.call.num_k;
  float* to = job.made + item * num_k;
  const float* made = MakeRow(job.call, row, NormOfRow(job.call, row), 0, num_k, to);
  if (made != to) std::copy_n(made, num_k, to);
}

void RunPanel(const F32Job& job, size_t panel, size_t thread) {
  const LinearCall& call = job.call;
  GemmScratch& scratch = job.scratch[thread];
  float* sums = job.sums + thread * job.sums_rows * kPanelColumns;
  const size_t feature = panel * kPanelColumns;
  const size_t num_features = std::min(kPanelColumns, call.num_features - feature);
  const float* rows = job.made == nullptr ? call.x.Row(job.begin) : job.made;
  std::fill_n(sums, job.count * kPanelColumns, 0.0f);
  for (size_t k = 0; k < call.num_k; k += kBlockK) {
    const size_t n = std::min(kBlockK, call.num_k - k);
    PackWeights(job, feature, num_features, k, n, scratch);
    MultiplyPanel({.a = rows + k,
                   .a_stride = job.made == nullptr ? call.x.stride : call.num_k,
                   .c = sums,
                   .c_stride = kPanelColumns,
                   .num_rows = job.count,
                   .num_k = n,
                   .num_columns = num_features},
                  scratch);
  }
  for (size_t row = 0; row < job.count; ++row) {
    StoreRow(call, job.begin + row, feature, num_features, sums + row * kPanelColumns);
  }
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace ingot::cpu
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace ingot::cpu {

HWY_EXPORT(MakeWholeRow);
HWY_EXPORT(RunPanel);

namespace {

// Bytes of the parts of the workspace: scratch, sums, rows.
struct F32Workspace {
  F32Workspace(op::Prologue prologue, size_t num_rows, size_t num_k, size_t num_threads)
      : rows(std::min(num_rows, kLinearF32Rows)),
        scratch_bytes(num_threads * sizeof(GemmScratch)),
        sums_bytes(num_threads * rows * kPanelColumns * sizeof(float)),
        made_bytes(prologue == op::Prologue::kNone ? 0 : rows * num_k * sizeof(float)) {}

  size_t rows, scratch_bytes, sums_bytes, made_bytes;
};

}  // namespace

int64_t LinearF32WorkspaceBytes(op::Prologue prologue, size_t num_rows, size_t num_k,
                                size_t num_threads) {
  const F32Workspace parts(prologue, num_rows, num_k, num_threads);
  return static_cast<int64_t>(parts.scratch_bytes + parts.sums_bytes + parts.made_bytes);
}

void RunLinearF32(const LinearCall& call, std::span<std::byte> workspace, ThreadPool& pool) {
  const F32Workspace parts(call.prologue, call.num_rows, call.num_k, pool.num_threads());
  std::byte* sums = workspace.data() + parts.scratch_bytes;
  F32Job job = {
      .call = call,
      .made = parts.made_bytes == 0 ? nullptr : reinterpret_cast<float*>(sums + parts.sums_bytes),
      .scratch = reinterpret_cast<GemmScratch*>(workspace.data()),
      .sums = reinterpret_cast<float*>(sums),
      .sums_rows = parts.rows};
  for (; job.begin < call.num_rows; job.begin += job.count) {
    job.count = std::min(kLinearF32Rows, call.num_rows - job.begin);
    // Lambdas capture one reference: more would make std::function allocate (promise P3).
    if (job.made != nullptr) {
      pool.ParallelFor(job.count, [&job](size_t item, size_t) {
        HWY_DYNAMIC_DISPATCH(MakeWholeRow)(job, item);
      });
    }
    pool.ParallelFor(hwy::DivCeil(call.num_features, kPanelColumns),
                     [&job](size_t panel, size_t thread) {
                       HWY_DYNAMIC_DISPATCH(RunPanel)(job, panel, thread);
                     });
  }
}

}  // namespace ingot::cpu
#endif  // HWY_ONCE
