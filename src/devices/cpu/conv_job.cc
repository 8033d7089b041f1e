#include "devices/cpu/conv_job.h"

namespace ingot::cpu {
namespace {

// Tiles of a chunk: 96 measured best, 48 to 128 within 10 %.
constexpr size_t kMaxTiles = 96;
// Channels that share a scale in int16; the 2560 of a UNet are four times as many.
constexpr size_t kMaxBlock = 640;
constexpr size_t kMaxFilterBytes = 20 << 20;
constexpr size_t kMaxInputBytes = 8 << 20;
// Up to here the filters' transform costs more than Winograd saves, measured at 1280 channels.
constexpr int64_t kMaxDirectPixels = 256;

bool CanWinograd(const op::Conv2d& op, const Shape& x, const Shape& weight) {
  const bool pads_by_1 =
      op.pad_top == 1 && op.pad_left == 1 && op.pad_bottom == 1 && op.pad_right == 1;
  return weight[2] == 3 && weight[3] == 3 && op.stride == 1 && (pads_by_1 || !op.upsample) &&
         x[1] * x[2] > kMaxDirectPixels;
}

// Hands out parts of a workspace.
class Allotment {
 public:
  size_t Take(size_t num_words) {
    const size_t begin = end_;
    end_ += RoundUp(num_words * sizeof(float), kTensorAlignment);
    return begin;
  }
  size_t num_bytes() const { return end_; }

 private:
  size_t end_ = 0;
};

}  // namespace

ConvCut::ConvCut(const op::Conv2d& op, const Shape& x, const Shape& weight)
    : winograd(CanWinograd(op, x, weight)),
      filters(static_cast<size_t>(weight[0])),
      kernel_area(static_cast<size_t>(weight[2] * weight[3])) {
  if (winograd) {
    CutWinograd(op);
  } else {
    CutDirect(op, weight);
  }
  CutChannels(op, static_cast<size_t>(weight[1]));
  CutFilters();
}

void ConvCut::CutWinograd(const op::Conv2d& op) {
  tile = step = 4;
  edge_height = edge_width = 6;
  num_points = num_taps = num_phase_taps = 36;
  if (op.upsample) num_phases = 4, num_phase_taps = 25;
  max_wide = 8;
}

void ConvCut::CutDirect(const op::Conv2d& op, const Shape& weight) {
  step = static_cast<size_t>(op.stride);
  edge_height = static_cast<size_t>(weight[2]);
  edge_width = static_cast<size_t>(weight[3]);
  num_taps = num_phase_taps = kernel_area;
  max_wide = 32;
}

void ConvCut::CutChannels(const op::Conv2d& op, size_t channels) {
  block = RoundUp(CeilDivide(channels, CeilDivide(channels, kMaxBlock)), 32);
  num_blocks = CeilDivide(channels, block);
  words = op.compute == op::Compute::kI16 ? block / 2 : block;
  const size_t tiles = kMaxInputBytes / (num_slices() * words * sizeof(int32_t));
  max_tiles = std::clamp(tiles / max_wide * max_wide, max_wide, kMaxTiles);
}

void ConvCut::CutFilters() {
  const size_t unit_bytes = kFilterUnit * num_phases * num_phase_slices() * words * sizeof(int32_t);
  const size_t units = CeilDivide(filters, kFilterUnit);
  const size_t num_groups = CeilDivide(units, std::max<size_t>(kMaxFilterBytes / unit_bytes, 1));
  group = CeilDivide(units, num_groups) * kFilterUnit;
}

ConvLayout::ConvLayout(const ConvCut& cut, size_t batch) {
  Allotment shared, transform, tiles;
  norms = shared.Take(batch * 3 * cut.padded_channels());
  panels = shared.Take(cut.group * cut.num_phases * cut.num_phase_slices() * cut.words);
  column_scales = shared.Take(cut.group * cut.num_phases * cut.num_phase_slices());
  filters = transform.Take(16 * cut.filter_stride());
  columns = transform.Take(cut.num_taps * cut.tap_stride());
  rows = tiles.Take(cut.num_slices() * cut.slice_words());
  row_scales = tiles.Take(cut.num_slices() * cut.max_tiles);
  sums = tiles.Take(kSubgroup * cut.max_tiles * cut.num_points);
  window = tiles.Take(cut.edge_height * cut.max_window_width() * cut.pixel_stride());
  points = tiles.Take(cut.winograd ? cut.num_points * cut.pixel_stride() : 0);
  first_thread = shared.num_bytes();
  thread_bytes = std::max(transform.num_bytes(), tiles.num_bytes());
}

Chunk ChunkOf(const ConvJob& job, size_t item, size_t thread) {
  const auto next = [&item](size_t count) {
    const size_t i = item % count;
    item /= count;
    return i;
  };
  const Range units =
      Part(job.num_filters / kFilterUnit, job.parts_filters, next(job.parts_filters));
  const Range columns = Part(job.tile_columns, job.parts_wide, next(job.parts_wide));
  const Range rows = Part(job.tile_rows.size(), job.parts_high, next(job.parts_high));
  return {.picture = item,
          .rows = {job.tile_rows.begin + rows.begin, job.tile_rows.begin + rows.end},
          .columns = columns,
          .filters = {units.begin * kFilterUnit, units.end * kFilterUnit},
          .thread = thread};
}

}  // namespace ingot::cpu
