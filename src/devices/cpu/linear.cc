#include "devices/cpu/linear.h"

#include <algorithm>

#include "devices/cpu/dequantize.h"
#include "devices/cpu/gemm.h"
#include "devices/cpu/linear_int16.h"
#include "devices/cpu/reference/reference.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "devices/cpu/linear.cc"
#include <hwy/foreach_target.h>  // IWYU pragma: keep

#include "devices/cpu/gemm-inl.h"

#ifndef INGOT_DEVICES_CPU_LINEAR_ONCE_
#define INGOT_DEVICES_CPU_LINEAR_ONCE_
namespace ingot::cpu {

struct LinearJob {
  const float* x;
  ConstTensorView weight;
  const float* bias;  // or null
  float* out;
  size_t num_rows, num_features, num_k;
  GemmScratch* scratch;  // one a thread
};

}  // namespace ingot::cpu
#endif  // INGOT_DEVICES_CPU_LINEAR_ONCE_

HWY_BEFORE_NAMESPACE();
namespace ingot::cpu {
namespace HWY_NAMESPACE {
namespace {

void StartFromBias(const LinearJob& job, size_t feature, size_t num_features) {
  for (size_t m = 0; m < job.num_rows; ++m) {
    float* out = job.out + m * job.num_features + feature;
    if (job.bias != nullptr) {
      std::copy_n(job.bias + feature, num_features, out);
    } else {
      std::fill_n(out, num_features, 0.0f);
    }
  }
}

// columns[k, 0..3] = rows[0..3, k]; rows lie kBlockK apart, columns kTileColumns.
void Transpose4(const float* rows, size_t num_k, float* columns) {
  const hn::Full128<float> d;
  size_t k = 0;
  for (; k + 4 <= num_k; k += 4, columns += 4 * kTileColumns) {
    const auto row0 = hn::LoadU(d, rows + k);
    const auto row1 = hn::LoadU(d, rows + kBlockK + k);
    const auto row2 = hn::LoadU(d, rows + 2 * kBlockK + k);
    const auto row3 = hn::LoadU(d, rows + 3 * kBlockK + k);
    const auto lower02 = hn::InterleaveLower(d, row0, row2);
    const auto lower13 = hn::InterleaveLower(d, row1, row3);
    const auto upper02 = hn::InterleaveUpper(d, row0, row2);
    const auto upper13 = hn::InterleaveUpper(d, row1, row3);
    hn::StoreU(hn::InterleaveLower(d, lower02, lower13), d, columns);
    hn::StoreU(hn::InterleaveUpper(d, lower02, lower13), d, columns + kTileColumns);
    hn::StoreU(hn::InterleaveLower(d, upper02, upper13), d, columns + 2 * kTileColumns);
    hn::StoreU(hn::InterleaveUpper(d, upper02, upper13), d, columns + 3 * kTileColumns);
  }
  for (; k < num_k; ++k, columns += kTileColumns) {
    for (size_t r = 0; r < 4; ++r) columns[r] = rows[r * kBlockK + k];
  }
}

// Weights of the panel's features at [k, k + num_k), transposed; zeros behind the last feature.
void PackWeights(const LinearJob& job, size_t feature, size_t num_features, size_t k, size_t num_k,
                 GemmScratch& scratch) {
  for (size_t n = 0; n < hwy::RoundUpTo(num_features, kTileColumns); n += 4) {
    for (size_t r = 0; r < 4; ++r) {
      float* row = scratch.rows + r * kBlockK;
      if (n + r < num_features) {
        DequantizeWeight(job.weight, static_cast<int64_t>(feature + n + r), static_cast<int64_t>(k),
                         static_cast<int64_t>(num_k), row);
      } else {
        std::fill_n(row, num_k, 0.0f);
      }
    }
    Transpose4(scratch.rows, num_k, scratch.panel + PanelOffset(n, num_k));
  }
}

void RunPanel(const LinearJob& job, size_t panel, GemmScratch& scratch) {
  const size_t feature = panel * kPanelColumns;
  const size_t num_features = std::min(kPanelColumns, job.num_features - feature);
  StartFromBias(job, feature, num_features);
  for (size_t k = 0; k < job.num_k; k += kBlockK) {
    const size_t num_k = std::min(kBlockK, job.num_k - k);
    PackWeights(job, feature, num_features, k, num_k, scratch);
    MultiplyPanel({.a = job.x + k,
                   .a_stride = job.num_k,
                   .c = job.out + feature,
                   .c_stride = job.num_features,
                   .num_rows = job.num_rows,
                   .num_k = num_k,
                   .num_columns = num_features},
                  scratch);
  }
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace ingot::cpu
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace ingot::cpu {

HWY_EXPORT(RunPanel);

int64_t WorkspaceBytes(const op::Linear& op, const OpSignature& signature, size_t num_threads) {
  if (op.compute == op::Compute::kI16) {
    const Shape& weight = signature.input_shapes[static_cast<size_t>(op::OperandsOf(op).weight)];
    return LinearInt16WorkspaceBytes(
        static_cast<size_t>(signature.output_shape.num_elements() / weight[0]),
        static_cast<size_t>(weight[1]), num_threads);
  }
  return static_cast<int64_t>(num_threads * sizeof(GemmScratch));
}

void Run(const op::Linear& op, const OpCall& call, ThreadPool& pool) {
  if (op.compute == op::Compute::kI16) {
    return RunLinearInt16(MakeLinearCall(op, call), call.workspace, pool, {});
  }
  if (op.prologue != op::Prologue::kNone || op.epilogue != op::Epilogue::kNone) {
    return reference::Run(op, call, pool);
  }
  const ConstTensorView& weight = call.inputs[1];
  const auto x = call.inputs[0].As<float>();
  const size_t num_k = static_cast<size_t>(weight.shape[1]);
  const LinearJob job{.x = x.data(),
                      .weight = weight,
                      .bias = call.inputs.size() == 3 ? call.inputs[2].As<float>().data() : nullptr,
                      .out = call.output.As<float>().data(),
                      .num_rows = x.size() / num_k,
                      .num_features = static_cast<size_t>(weight.shape[0]),
                      .num_k = num_k,
                      .scratch = reinterpret_cast<GemmScratch*>(call.workspace.data())};
  // One captured reference: more would make std::function allocate (promise P3).
  pool.ParallelFor(hwy::DivCeil(job.num_features, kPanelColumns),
                   [&job](size_t panel, size_t thread) {
                     HWY_DYNAMIC_DISPATCH(RunPanel)(job, panel, job.scratch[thread]);
                   });
}

}  // namespace ingot::cpu
#endif  // HWY_ONCE
