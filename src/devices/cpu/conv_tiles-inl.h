// The tiles of a convolution: their pixels packed as rows of the products, the products, and the
// outputs. Compiled once per SIMD target.
#include <algorithm>
#include <cstring>
#include <type_traits>

#include "base/check.h"
#include "devices/cpu/conv_job.h"

#if defined(INGOT_DEVICES_CPU_CONV_TILES_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef INGOT_DEVICES_CPU_CONV_TILES_INL_H_
#undef INGOT_DEVICES_CPU_CONV_TILES_INL_H_
#else
#define INGOT_DEVICES_CPU_CONV_TILES_INL_H_
#endif

#include "devices/cpu/conv_filters-inl.h"
#include "devices/cpu/conv_product-inl.h"
#include "devices/cpu/pixels-inl.h"
#include "devices/cpu/winograd-inl.h"

HWY_BEFORE_NAMESPACE();
namespace ingot::cpu {
namespace HWY_NAMESPACE {
namespace {

// The window of a row of tiles: its rows of pixels, `width` pixels each, for a block of channels.
struct Window {
  float* pixels;
  int64_t top, left;  // in the picture
  size_t width;
  size_t picture, block, thread;
};

void LoadPixel(const ConvJob& job, const Window& window, size_t pixel, float* to) {
  const ChannelNorm norm = job.Norm(window.picture);
  const size_t first = window.block * job.cut.block;
  for (size_t c = 0; c < job.cut.block; c += kLanes) {
    const size_t channel = first + c;
    const size_t count = job.channels - std::min(channel, job.channels);
    VF x = LoadChannels(kF, job.x, pixel * job.x.stride + channel, count);
    if (job.op.norm_silu) x = Silu(kF, Normalize(kF, x, norm, channel));
    hn::Store(x, kF, to + c);
  }
}

// Some rows of the window; zeros outside of the picture.
void LoadWindow(const ConvJob& job, const Window& window, const Range& rows) {
  const int shift = job.op.upsample && !job.cut.winograd ? 1 : 0;  // pixels stand twice
  const size_t stride = job.cut.pixel_stride();
  float* to = window.pixels + rows.begin * window.width * stride;
  for (size_t row = rows.begin; row < rows.end; ++row) {
    const int64_t y = window.top + static_cast<int64_t>(row);
    const int64_t source = (y >> shift) - job.first_row;
    const bool is_inside = y >= 0 && y < job.height << shift;
    INGOT_CHECK(!is_inside || (source >= 0 && source < job.num_rows));
    const int64_t line = static_cast<int64_t>(window.picture) * job.num_rows + source;
    for (size_t column = 0; column < window.width; ++column, to += stride) {
      const int64_t x = window.left + static_cast<int64_t>(column);
      if (is_inside && x >= 0 && x < job.width << shift) {
        LoadPixel(job, window, static_cast<size_t>(line * job.width + (x >> shift)), to);
      } else {
        std::fill_n(to, job.cut.block, 0.0f);
      }
    }
  }
}

// A tile's numbers for one tap and a block of channels.
struct TapRow {
  const float* x;
  size_t tile, tap;
};

// Rows row(0) .. row(num_rows - 1) -> their lines of the left side.
template <class Element, class Row>
void PackRows(const ConvJob& job, const Window& window, size_t num_rows, const Row& row) {
  const ConvCut& cut = job.cut;
  alignas(64) float sums[kLanes * 4] = {}, scales[kLanes] = {}, inverses[kLanes] = {};
  for (size_t first = 0; first < num_rows; first += kLanes) {
    const size_t count = std::min(kLanes, num_rows - first);
    if constexpr (std::is_same_v<Element, int16_t>) {
      for (size_t i = 0; i < count; ++i) SumSquares(row(first + i).x, cut.block, sums + 4 * i);
      const Int16Scale scale = RowScales(sums);
      hn::Store(scale.scale, kF, scales);
      hn::Store(scale.inverse, kF, inverses);
    }
    for (size_t i = 0; i < count; ++i) {
      const TapRow from = row(first + i);
      const size_t slice = from.tap * cut.num_blocks + window.block;
      PackRow(from.x, cut.block, scales[i], Element{},
              job.Words(job.layout.rows, window.thread) + slice * cut.slice_words() +
                  RowOffset(from.tile, cut.words));
      if constexpr (std::is_same_v<Element, int16_t>) {
        job.Floats(job.layout.row_scales, window.thread)[slice * cut.max_tiles + from.tile] =
            inverses[i];
      }
    }
  }
}

// The tiles of one row: by Winograd their points.
template <class Element>
void PackPoints(const ConvJob& job, const Window& window, const Range& tiles) {
  const size_t stride = job.cut.pixel_stride();
  float* points = job.Floats(job.layout.points, window.thread);
  for (size_t tile = tiles.begin; tile < tiles.end; ++tile) {
    const float* from = window.pixels + (tile - tiles.begin) * job.cut.step * stride;
    for (size_t c = 0; c < job.cut.block; c += kLanes) {
      TransformInput(
          kF,
          [&](size_t i, size_t j) {
            return hn::Load(kF, from + (i * window.width + j) * stride + c);
          },
          [&](size_t point, VF value) { hn::Store(value, kF, points + point * stride + c); });
    }
    PackRows<Element>(job, window, kWinogradPoints, [&](size_t point) -> TapRow {
      return {points + point * stride, tile, point};
    });
  }
}

// The same directly: the pixels of their windows.
template <class Element>
void PackWindows(const ConvJob& job, const Window& window, const Range& tiles) {
  const ConvCut& cut = job.cut;
  PackRows<Element>(job, window, tiles.size() * cut.num_taps, [&](size_t i) -> TapRow {
    const size_t column = i / cut.num_taps, tap = i % cut.num_taps;
    const size_t pixel =
        tap / cut.edge_width * window.width + column * cut.step + tap % cut.edge_width;
    return {window.pixels + pixel * cut.pixel_stride(), tiles.begin + column, tap};
  });
}

// The left side of the products: all tiles of the chunk. A window keeps the rows that it shares
// with the one above.
template <class Element>
void PackTiles(const ConvJob& job, const Chunk& chunk) {
  const ConvCut& cut = job.cut;
  const size_t width = (chunk.columns.size() - 1) * cut.step + cut.edge_width;
  const size_t shared_rows = cut.edge_height > cut.step ? cut.edge_height - cut.step : 0;
  const size_t row_floats = width * cut.pixel_stride();
  for (size_t block = 0; block < cut.num_blocks; ++block) {
    size_t tile = 0;
    for (size_t row = chunk.rows.begin; row < chunk.rows.end; ++row) {
      const Window window = {
          .pixels = job.Floats(job.layout.window, chunk.thread),
          .top = static_cast<int64_t>(row * cut.step) - job.op.pad_top,
          .left = static_cast<int64_t>(chunk.columns.begin * cut.step) - job.op.pad_left,
          .width = width,
          .picture = chunk.picture,
          .block = block,
          .thread = chunk.thread};
      const size_t kept = row == chunk.rows.begin ? 0 : shared_rows;
      std::memmove(window.pixels, window.pixels + (cut.edge_height - kept) * row_floats,
                   kept * row_floats * sizeof(float));
      LoadWindow(job, window, {kept, cut.edge_height});
      const Range tiles = {tile, tile + chunk.columns.size()};
      if (cut.winograd) {
        PackPoints<Element>(job, window, tiles);
      } else {
        PackWindows<Element>(job, window, tiles);
      }
      tile = tiles.end;
    }
  }
}

// Sums of a panel stand tile by tile: [tile][point][kPanel].
float* Sums(const ConvJob& job, size_t thread, size_t panel) {
  return job.Floats(job.layout.sums, thread) +
         panel * job.cut.max_tiles * job.cut.num_points * kPanel;
}

// The sums of one point by the panel at `filter` of the group.
struct PanelPoint {
  size_t phase, point, filter;
  size_t first_slice;  // of the panel
  float* sums;         // of the first tile
};

template <class Element>
void MultiplyPoint(const ConvJob& job, const Chunk& chunk, const PanelPoint& panel) {
  const ConvCut& cut = job.cut;
  const size_t sums_stride = cut.num_points * kPanel;
  for (size_t i = 0; i < cut.slices_per_point(); ++i) {
    const size_t slice = panel.point * cut.slices_per_point() + i;
    const int32_t* rows = job.Words(job.layout.rows, chunk.thread) + slice * cut.slice_words();
    const float* row_scales =
        job.Floats(job.layout.row_scales, chunk.thread) + slice * cut.max_tiles;
    for (size_t tile = 0; tile < chunk.num_tiles(); tile += kBlockRows) {
      Multiply<Element>(
          {.rows = rows + RowOffset(tile, cut.words),
           .panel = PanelWords(job, panel.phase, panel.filter, panel.first_slice + i),
           .num_lines = cut.words / kLineWords,
           .row_scales = row_scales + tile,
           .column_scales = ColumnScales(job, panel.phase, panel.filter, panel.first_slice + i),
           .sums = panel.sums + tile * sums_stride,
           .sums_stride = sums_stride,
           .continues = i > 0});
    }
  }
}

void ClearPoint(const ConvJob& job, const Chunk& chunk, float* sums) {
  for (size_t tile = 0; tile < chunk.num_tiles(); ++tile) {
    std::fill_n(sums + tile * job.cut.num_points * kPanel, kPanel, 0.0f);
  }
}

// All sums of the tiles by filters [filters.begin, filters.end) of the group. Point by point: the
// tiles' side of a point stays in cache for all panels.
template <class Element>
void MultiplyPhase(const ConvJob& job, const Chunk& chunk, size_t phase, const Range& filters) {
  const ConvCut& cut = job.cut;
  size_t slice = 0;
  for (size_t point = 0; point < cut.num_points; ++point) {
    const bool is_skipped = cut.num_phases == 4 && PhaseSkips(phase, point);
    for (size_t filter = filters.begin; filter < filters.end; filter += kPanel) {
      float* sums = Sums(job, chunk.thread, (filter - filters.begin) / kPanel) + point * kPanel;
      if (is_skipped) {
        ClearPoint(job, chunk, sums);
      } else {
        MultiplyPoint<Element>(job, chunk, {phase, point, filter, slice, sums});
      }
    }
    if (!is_skipped) slice += cut.slices_per_point();
  }
}

// A pixel of an output picture.
struct OutputPixel {
  size_t picture;
  int64_t y, x;
};

// Channels [filter, filter + kLanes) of one pixel: adds bias and residual.
void StoreOutput(const ConvJob& job, const OutputPixel& at, size_t filter, VF value) {
  const int64_t row = at.y - job.first_out;
  if (row < 0 || row >= job.num_out || at.x >= job.out_width) return;
  const size_t count = job.cut.filters - filter;
  const int64_t line = static_cast<int64_t>(at.picture) * job.num_out + row;
  const size_t pixel = static_cast<size_t>(line * job.out_width + at.x);
  if (job.bias != nullptr) {
    value = hn::Add(value, count >= kLanes ? hn::LoadU(kF, job.bias + filter)
                                           : LoadFirst(kF, job.bias + filter, count));
  }
  if (job.op.residual) {
    value =
        hn::Add(value, LoadChannels(kF, job.residual, pixel * job.residual.stride + filter, count));
  }
  StoreChannels(value, kF, job.out, pixel * job.out.stride + filter, count);
}

// Filters [filters.begin, filters.end) of the group for all tiles, tile by tile: a pixel's filters
// are neighbours in memory.
void StoreTiles(const ConvJob& job, const Chunk& chunk, size_t phase, const Range& filters) {
  const ConvCut& cut = job.cut;
  const int64_t scale = static_cast<int64_t>(cut.output_scale());
  const int64_t phase_row = static_cast<int64_t>(phase / 2);
  const int64_t phase_column = static_cast<int64_t>(phase % 2);
  for (size_t tile = 0; tile < chunk.num_tiles(); ++tile) {
    const size_t row = chunk.rows.begin + tile / chunk.columns.size();
    const size_t column = chunk.columns.begin + tile % chunk.columns.size();
    const int64_t top = static_cast<int64_t>(row * cut.tile) * scale + phase_row;
    const int64_t left = static_cast<int64_t>(column * cut.tile) * scale + phase_column;
    for (size_t filter = filters.begin; filter < filters.end; filter += kLanes) {
      const float* sums = Sums(job, chunk.thread, (filter - filters.begin) / kPanel) +
                          tile * cut.num_points * kPanel + filter % kPanel;
      const auto store = [&](size_t i, size_t j, VF value) {
        StoreOutput(job,
                    {chunk.picture, top + static_cast<int64_t>(i) * scale,
                     left + static_cast<int64_t>(j) * scale},
                    job.first_filter + filter, value);
      };
      if (cut.winograd) {
        TransformOutput(
            kF, [&](size_t point) { return hn::Load(kF, sums + point * kPanel); }, store);
      } else {
        store(0, 0, hn::Load(kF, sums));
      }
    }
  }
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace ingot::cpu
HWY_AFTER_NAMESPACE();

#endif  // INGOT_DEVICES_CPU_CONV_TILES_INL_H_
