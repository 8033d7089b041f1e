#include "devices/cpu/linear_int8.h"

#include <algorithm>
#include <bit>
#include <functional>
#include <optional>
#include <span>

#include "devices/cpu/linear_int8_job.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "devices/cpu/linear_int8.cc"
#include <hwy/foreach_target.h>  // IWYU pragma: keep

#include "devices/cpu/linear_int8_product-inl.h"
#include "devices/cpu/linear_store-inl.h"

HWY_BEFORE_NAMESPACE();
namespace ingot::cpu {
namespace HWY_NAMESPACE {
namespace {

// A group of rows against the panels from `feature` on, a block of K at a time: what x has of it
// comes from L3 once for all of them.
template <class Kept>
void MultiplyGroup(const Int8Job& job, size_t idx, size_t feature, std::span<const Panel> panels,
                   const Int8Scratch& scratch) {
  const RowGroup group = job.layout.group(idx);
  const size_t num_blocks = job.layout.num_blocks;
  const auto multiply = [&](const Sweep& sweep, bool first) {
    if (first) return MultiplyBlock<Kept, true>(sweep, group.count, job.uses_tiles);
    MultiplyBlock<Kept, false>(sweep, group.count, job.uses_tiles);
  };
  const Outliers& outliers = job.outliers[idx];
  if (outliers.count > 0) {
    Sweep sweep = MakeSweep<Kept>(job, group, num_blocks, scratch);
    for (const Panel& panel : panels) {
      GatherOutliers<Kept>(job, outliers, panel.weights, scratch.outliers);
      sweep.block = scratch.outliers;
      sweep.sums = panel.sums;
      multiply(sweep, true);
    }
  }
  float* out = job.call.out + group.begin * job.call.out_stride + feature;
  for (size_t block = 0; block < num_blocks; ++block) {
    Sweep sweep = MakeSweep<Kept>(job, group, block, scratch);
    for (size_t i = 0; i < panels.size(); ++i) {
      sweep.block = BlockOf<Kept>(panels[i].weights, block);
      sweep.sums = panels[i].sums;
      if (block + 1 == num_blocks) sweep.out = out + i * kPanelFeatures;
      multiply(sweep, block == 0 && outliers.count == 0);
    }
  }
  for (size_t i = 0; i < panels.size(); ++i) {
    const size_t first = feature + i * kPanelFeatures;
    for (size_t row = 0; row < group.count; ++row) {
      StoreRow(job.call, group.begin + row, first,
               std::min(kPanelFeatures, job.call.num_features - first),
               panels[i].sums + row * kPanelFeatures);
    }
  }
}

template <class Kept>
void RunPanelsOf(const Int8Job& job, size_t item, size_t thread) {
  const Int8Scratch scratch = ScratchOf<Kept>(job, thread);
  std::optional<AmxTiles> tiles;
  if (job.uses_tiles) tiles.emplace();
  const size_t feature = item * job.layout.panels_per_item * kPanelFeatures;
  const std::span<const Panel> panels(
      scratch.panels, std::min(job.layout.panels_per_item,
                               hwy::DivCeil(job.call.num_features - feature, kPanelFeatures)));
  for (size_t i = 0; i < panels.size(); ++i) {
    PackWeights<Kept>(job, feature + i * kPanelFeatures, panels[i].weights);
  }
  for (size_t idx = 0; idx < job.layout.num_groups; ++idx) {
    if (job.stop->stop_requested()) return;
    MultiplyGroup<Kept>(job, idx, feature, panels, scratch);
  }
}

void RunPanels(const Int8Job& job, size_t item, size_t thread) {
  WithKept8([&]<class Kept>(Kept) { RunPanelsOf<Kept>(job, item, thread); });
}

size_t GetScratchBytes(const Int8Layout& layout) {
  return WithKept8([&]<class Kept>(Kept) { return ScratchBytes<Kept>(layout); });
}

Int8Scratch GetScratch(const Int8Job& job, size_t thread) {
  return WithKept8([&]<class Kept>(Kept) { return ScratchOf<Kept>(job, thread); });
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace ingot::cpu
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace ingot::cpu {

HWY_EXPORT(GetScratchBytes);
HWY_EXPORT(GetScratch);
HWY_EXPORT(TakeNorms);
HWY_EXPORT(FindMaxima);
HWY_EXPORT(QuantizeRows);
HWY_EXPORT(RunPanels);

namespace {

// The outliers of group `idx` of the batch from its maxima.
void ChooseOutliers(const Int8Job& job, size_t idx, uint64_t* keys) {
  const size_t num_k = job.layout.num_k;
  const int32_t* maxima = job.maxima + idx * job.layout.padded_k;
  // Larger bits are larger magnitudes; of equal ones the first channel comes first.
  for (size_t k = 0; k < num_k; ++k) {
    keys[k] = uint64_t{static_cast<uint32_t>(maxima[k])} << 32 | (0xFFFFFFFF - k);
  }
  std::nth_element(keys, keys + num_k / 2, keys + num_k, std::greater());
  const float median = std::bit_cast<float>(static_cast<uint32_t>(keys[num_k / 2] >> 32));
  const uint64_t limit =
      uint64_t{std::bit_cast<uint32_t>(kOutlierFactor * median)} << 32 | 0xFFFFFFFF;
  Outliers& outliers = job.outliers[job.batch_begin + idx];
  const size_t num_candidates = std::min(kMaxOutliers, num_k / 2);
  std::nth_element(keys, keys + num_candidates, keys + num_k / 2, std::greater());
  outliers.count = 0;
  for (size_t i = 0; i < num_candidates; ++i) {
    if (keys[i] <= limit) continue;
    outliers.channels[outliers.count++] = 0xFFFFFFFF - static_cast<uint32_t>(keys[i]);
  }
  std::sort(outliers.channels, outliers.channels + outliers.count);
}

}  // namespace

int64_t LinearInt8WorkspaceBytes(const LinearCall& sizes, size_t num_threads) {
  Int8Job job(sizes, num_threads, nullptr);
  Carver carver(nullptr);
  job.CarveShared(carver);
  return static_cast<int64_t>(carver.used() +
                              num_threads * HWY_DYNAMIC_DISPATCH(GetScratchBytes)(job.layout));
}

void RunLinearInt8(const LinearCall& call, std::span<std::byte> workspace, ThreadPool& pool,
                   std::stop_token stop) {
  Int8Job job(call, pool.num_threads(), workspace.data());
  job.stop = &stop;
  // Lambdas capture one reference: more would make std::function allocate (promise P3).
  pool.ParallelFor(hwy::DivCeil(call.num_rows, kQuantizeRows), [&job](size_t item, size_t) {
    HWY_DYNAMIC_DISPATCH(TakeNorms)(job, item);
  });
  for (; job.batch_begin < job.layout.num_groups; job.batch_begin += job.layout.batch_groups) {
    const size_t num_groups =
        std::min(job.layout.batch_groups, job.layout.num_groups - job.batch_begin);
    const size_t num_slices = hwy::DivCeil(call.num_k, kSliceK);
    pool.ParallelFor(num_groups * num_slices, [&job](size_t item, size_t) {
      HWY_DYNAMIC_DISPATCH(FindMaxima)(job, item);
    });
    pool.ParallelFor(num_groups, [&job](size_t idx, size_t thread) {
      ChooseOutliers(job, idx, HWY_DYNAMIC_DISPATCH(GetScratch)(job, thread).keys);
    });
    pool.ParallelFor(num_groups * (kRowGrid / kQuantizeRows), [&job](size_t item, size_t) {
      HWY_DYNAMIC_DISPATCH(QuantizeRows)(job, item);
    });
  }
  const size_t features_per_item = job.layout.panels_per_item * kPanelFeatures;
  pool.ParallelFor(hwy::DivCeil(call.num_features, features_per_item),
                   [&job](size_t item, size_t thread) {
                     HWY_DYNAMIC_DISPATCH(RunPanels)(job, item, thread);
                   });
}

}  // namespace ingot::cpu
#endif  // HWY_ONCE
