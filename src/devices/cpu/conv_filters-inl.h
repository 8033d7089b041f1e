// The filters' side of a convolution's products: loaded, transformed and packed into panels.
// Compiled once per SIMD target.
#include <algorithm>
#include <cstring>

#include "devices/cpu/conv_job.h"
#include "devices/cpu/dequantize.h"

#if defined(INGOT_DEVICES_CPU_CONV_FILTERS_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef INGOT_DEVICES_CPU_CONV_FILTERS_INL_H_
#undef INGOT_DEVICES_CPU_CONV_FILTERS_INL_H_
#else
#define INGOT_DEVICES_CPU_CONV_FILTERS_INL_H_
#endif

#include "devices/cpu/conv_product-inl.h"
#include "devices/cpu/winograd-inl.h"

HWY_BEFORE_NAMESPACE();
namespace ingot::cpu {
namespace HWY_NAMESPACE {
namespace {

// Words of the panel that begins at filter `filter` of the group, slice by slice.
int32_t* PanelWords(const ConvJob& job, size_t phase, size_t filter, size_t slice) {
  const ConvCut& cut = job.cut;
  const size_t panel = (phase * job.cut.group + filter) / kPanel;
  return job.Words(job.layout.panels) +
         (panel * cut.num_phase_slices() + slice) * cut.words * kPanel;
}

float* ColumnScales(const ConvJob& job, size_t phase, size_t filter, size_t slice) {
  const size_t panel = (phase * job.cut.group + filter) / kPanel;
  return job.Floats(job.layout.column_scales) +
         (panel * job.cut.num_phase_slices() + slice) * kPanel;
}

// Elements [k, k + count) of row `row`, as DequantizeWeight; F16 and BF16 a vector at a time.
void LoadWeights(const ConstTensorView& weight, size_t row, size_t k, size_t count, float* out) {
  const auto promote = [&](auto half) {
    const hn::Rebind<decltype(half), decltype(kF)> d;
    const std::byte* from = weight.data + (row * static_cast<size_t>(weight.shape[1]) + k) * 2;
    size_t i = 0;
    for (; i + kLanes <= count; i += kLanes) {
      decltype(half) values[kLanes];
      std::memcpy(values, from + 2 * i, sizeof values);
      hn::StoreU(hn::PromoteTo(kF, hn::LoadU(d, values)), kF, out + i);
    }
    return i;
  };
  size_t done = 0;
  if (weight.dtype == DType::kF16) done = promote(hwy::float16_t{});
  if (weight.dtype == DType::kBF16) done = promote(hwy::bfloat16_t{});
  DequantizeWeight(weight, static_cast<int64_t>(row), static_cast<int64_t>(k + done),
                   static_cast<int64_t>(count - done), out + done);
}

// Weights of kLanes filters for the channels of a block, one filter a row; zeros for the others.
void LoadFilters(const ConvJob& job, size_t filter, size_t block, float* rows) {
  const size_t area = job.cut.kernel_area, begin = block * job.cut.block;
  const size_t count = std::min(job.cut.block, job.channels - begin) * area;
  for (size_t lane = 0; lane < kLanes; ++lane, rows += job.cut.filter_stride()) {
    if (filter + lane >= job.cut.filters) {
      std::fill_n(rows, job.cut.block * area, 0.0f);
      continue;
    }
    LoadWeights(job.weight, filter + lane, begin * area, count, rows);
    std::fill(rows + count, rows + job.cut.block * area, 0.0f);
  }
}

// rows -> columns [tap][channel][kLanes]; taps that the phase has no weights for are left out.
void TransformFilters(const ConvJob& job, size_t phase, const float* rows, float* columns) {
  const ConvCut& cut = job.cut;
  const VI lanes = hn::Mul(hn::Iota(kI, 0), hn::Set(kI, static_cast<int32_t>(cut.filter_stride())));
  for (size_t c = 0; c < cut.block; ++c, rows += cut.kernel_area) {
    float* out = columns + c * kLanes;
    const auto put = [&](VF value) {
      hn::Store(value, kF, out);
      out += cut.tap_stride();
    };
    if (!cut.winograd) {
      for (size_t tap = 0; tap < cut.num_taps; ++tap) put(hn::GatherIndex(kF, rows + tap, lanes));
      continue;
    }
    VF w[9];
    for (size_t tap = 0; tap < 9; ++tap) w[tap] = hn::GatherIndex(kF, rows + tap, lanes);
    if (cut.num_phases == 4) PhaseWeights(kF, phase, w);
    TransformWeights(kF, w, [&](size_t point, VF value) {
      if (cut.num_phases == 1 || !PhaseSkips(phase, point)) put(value);
    });
  }
}

// One phase of kFilterUnit filters and a block of channels.
template <class Element>
void PackFilters(const ConvJob& job, size_t item, size_t thread) {
  const ConvCut& cut = job.cut;
  const size_t block = item % cut.num_blocks;
  const size_t phase = item / cut.num_blocks % cut.num_phases;
  const size_t unit = item / cut.num_blocks / cut.num_phases * kFilterUnit;
  float* rows = job.Floats(job.layout.filters, thread);
  float* columns = job.Floats(job.layout.columns, thread);
  for (size_t filter = unit; filter < unit + kFilterUnit; filter += kLanes) {
    LoadFilters(job, job.first_filter + filter, block, rows);
    TransformFilters(job, phase, rows, columns);
    const size_t lane = filter % kPanel;
    for (size_t tap = 0; tap < cut.num_phase_taps; ++tap) {
      const size_t slice = tap * cut.num_blocks + block;
      PackColumns(columns + tap * cut.tap_stride(), cut.block, Element{},
                  PanelWords(job, phase, filter - lane, slice) + lane,
                  ColumnScales(job, phase, filter - lane, slice) + lane);
    }
  }
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace ingot::cpu
HWY_AFTER_NAMESPACE();

#endif  // INGOT_DEVICES_CPU_CONV_FILTERS_INL_H_
