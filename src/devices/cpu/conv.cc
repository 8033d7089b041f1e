#include "devices/cpu/conv.h"

#include <algorithm>

#include "devices/cpu/dequantize.h"
#include "devices/cpu/pixels.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "devices/cpu/conv.cc"
#include <hwy/foreach_target.h>  // IWYU pragma: keep

#include "devices/cpu/conv_product-inl.h"
#include "devices/cpu/pixels-inl.h"
#include "devices/cpu/winograd-inl.h"

#ifndef INGOT_DEVICES_CPU_CONV_ONCE_
#define INGOT_DEVICES_CPU_CONV_ONCE_
namespace ingot::cpu {

inline constexpr size_t kMaxTiles = 96;    // of a chunk: measured, 64 to 128 are equal
inline constexpr size_t kMaxBlock = 640;   // channels of one scale
inline constexpr size_t kFilterUnit = 32;  // filters are cut at multiples of this
inline constexpr size_t kSubgroup = 128;   // filters whose sums stay in cache
inline constexpr size_t kMaxFilterBytes = 20 << 20;
inline constexpr size_t kMaxInputBytes = 8 << 20;
inline constexpr size_t kMinWinogradPixels = 256;  // below, transforming the filters costs more

inline size_t CeilDivide(size_t a, size_t b) { return (a + b - 1) / b; }

// Part `i` of [0, n) cut in `parts`.
struct Range {
  size_t begin, end;
  size_t size() const { return end - begin; }
};
inline Range Part(size_t n, size_t parts, size_t i) { return {n * i / parts, n * (i + 1) / parts}; }

// How a convolution is cut. Follows from its whole shape alone.
//
// An output tile is the sum of `num_slices` products: of every tap (a point of Winograd's, or an
// element of the window) and block of channels.
struct ConvCut {
  ConvCut(const op::Conv2d& op, const Shape& x, const Shape& weight) {
    const size_t kernel_height = static_cast<size_t>(weight[2]);
    const size_t kernel_width = static_cast<size_t>(weight[3]);
    const size_t channels = static_cast<size_t>(weight[1]);
    filters = static_cast<size_t>(weight[0]);
    kernel_area = kernel_height * kernel_width;
    const bool pad1 =
        op.pad_top == 1 && op.pad_left == 1 && op.pad_bottom == 1 && op.pad_right == 1;
    winograd = kernel_height == 3 && kernel_width == 3 && op.stride == 1 &&
               (pad1 || !op.upsample) && static_cast<size_t>(x[1] * x[2]) >= kMinWinogradPixels;
    if (winograd) {
      tile = 4, step = 4, edge_height = edge_width = 6, num_points = num_taps = 36;
      if (op.upsample) num_phases = 4, num_phase_taps = 25;
      max_wide = 8;
    } else {
      tile = 1, step = static_cast<size_t>(op.stride);
      edge_height = kernel_height, edge_width = kernel_width;
      num_points = 1, num_taps = kernel_area;
      max_wide = 32;
    }
    if (num_phase_taps == 0) num_phase_taps = num_taps;
    num_blocks = CeilDivide(channels, kMaxBlock);
    block = CeilDivide(CeilDivide(channels, num_blocks), 32) * 32;
    words = op.compute == op::Compute::kI16 ? block / 2 : block;
    const size_t tile_bytes = num_slices() * words * 4;
    max_tiles =
        std::clamp<size_t>(kMaxInputBytes / tile_bytes / max_wide * max_wide, max_wide, kMaxTiles);
    const size_t filter_bytes = num_phases * num_phase_slices() * words * 4;
    const size_t units = CeilDivide(filters, kFilterUnit);
    const size_t max_units = std::max<size_t>(kMaxFilterBytes / filter_bytes / kFilterUnit, 1);
    group = CeilDivide(units, CeilDivide(units, max_units)) * kFilterUnit;
  }

  size_t num_slices() const { return num_taps * num_blocks; }
  size_t num_phase_slices() const { return num_phase_taps * num_blocks; }
  size_t padded_channels() const { return num_blocks * block; }
  size_t output_scale() const { return num_phases == 4 ? 2 : 1; }
  size_t max_window_width() const { return (max_wide - 1) * step + edge_width; }
  // A line more than the numbers need: not all pixels, points or slices in one set of a cache.
  size_t line_stride() const { return block + 16; }
  size_t tap_floats() const { return block * 16 + 16; }  // of 16 filters in transformation
  size_t slice_words() const { return max_tiles * words + 16; }

  bool winograd = false;
  size_t filters = 0, kernel_area = 0;
  size_t tile = 0;                         // outputs along an edge
  size_t step = 0;                         // pixels from tile to tile
  size_t edge_height = 0, edge_width = 0;  // pixels that a tile reads
  size_t num_points = 0;                   // sums that make a tile
  size_t num_taps = 0;
  size_t num_phases = 1;               // 4: rows and columns of an upsampled output
  size_t num_phase_taps = 0;           // of the taps, those a phase has weights for
  size_t block = 0, num_blocks = 0;    // channels
  size_t words = 0;                    // of a block's row
  size_t max_wide = 0, max_tiles = 0;  // tiles of a chunk: in a row, in all
  size_t group = 0;                    // filters that are in the workspace at a time
};

// Hands out the bytes of a workspace, a cache line being the least.
class Layout {
 public:
  explicit Layout(size_t begin) : end_(begin) {}
  size_t Take(size_t num_words) {
    const size_t begin = end_;
    end_ += (num_words * 4 + 63) / 64 * 64;
    return begin;
  }
  size_t end() const { return end_; }

 private:
  size_t end_;
};

// Where everything stands in the workspace. A thread's filters in transformation share their place
// with its tiles.
struct ConvLayout {
  ConvLayout(const ConvCut& c, size_t batch) {
    Layout shared(0), tiles(0), transform(0);
    norms = shared.Take(batch * 3 * c.padded_channels());
    panels = shared.Take(c.group * c.num_phases * c.num_phase_slices() * c.words);
    column_scales = shared.Take(c.group * c.num_phases * c.num_phase_slices());
    rows = tiles.Take(c.num_slices() * c.slice_words());
    row_scales = tiles.Take(c.num_slices() * c.max_tiles);
    sums = tiles.Take(kSubgroup * c.max_tiles * c.num_points);
    window = tiles.Take(c.edge_height * c.max_window_width() * c.line_stride());
    points = tiles.Take(c.num_taps * c.line_stride());
    filters = transform.Take(16 * (c.block * c.kernel_area + 16));
    columns = transform.Take(c.num_taps * c.tap_floats());
    first_thread = shared.end();
    thread_bytes = std::max(tiles.end(), transform.end());
  }

  size_t norms, panels, column_scales;
  size_t first_thread, thread_bytes;
  size_t rows, row_scales, sums, window, points;  // in a thread's part
  size_t filters, columns;                        // the same bytes, before
};

struct ConvJob {
  const op::Conv2d& op;
  const ConvCut& cut;
  const ConvLayout& layout;
  std::byte* workspace;
  Pixels x, residual;
  MutablePixels out;
  ConstTensorView weight;  // [O, C * kh * kw]
  const float* bias;       // or null
  size_t batch, channels;
  int64_t width, height;                  // of the picture
  int64_t first_row, num_rows;            // of it in x
  int64_t out_width, first_out, num_out;  // columns, and rows [first_out, first_out + num_out)
  // Changes from group to group.
  size_t first_filter, num_filters;  // multiples of kFilterUnit
  // How tiles and filters are shared out.
  Range tile_rows;
  size_t tile_columns;
  size_t parts_high, parts_wide, parts_filters;

  float* Floats(size_t offset) const { return reinterpret_cast<float*>(workspace + offset); }
  float* Floats(size_t offset, size_t thread) const {
    return Floats(layout.first_thread + thread * layout.thread_bytes + offset);
  }
  int32_t* Words(size_t offset) const { return reinterpret_cast<int32_t*>(workspace + offset); }
  int32_t* Words(size_t offset, size_t thread) const {
    return Words(layout.first_thread + thread * layout.thread_bytes + offset);
  }
  ChannelNorm Norm(size_t picture) const {
    float* norm = Floats(layout.norms) + picture * 3 * cut.padded_channels();
    return {norm, norm + cut.padded_channels(), norm + 2 * cut.padded_channels()};
  }
};

}  // namespace ingot::cpu
#endif  // INGOT_DEVICES_CPU_CONV_ONCE_

HWY_BEFORE_NAMESPACE();
namespace ingot::cpu {
namespace HWY_NAMESPACE {
namespace {

// Tiles of one picture by some filters.
struct Chunk {
  size_t picture;
  Range rows, columns;  // of tiles
  Range filters;        // of the group, multiples of kFilterUnit
  size_t thread;

  size_t num_tiles() const { return rows.size() * columns.size(); }
};

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

// ---- Filters ----

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
void LoadFilters(const ConvJob& job, size_t filter, size_t block, float* rows, size_t stride) {
  const size_t area = job.cut.kernel_area, begin = block * job.cut.block;
  const size_t count = std::min(job.cut.block, job.channels - begin) * area;
  for (size_t lane = 0; lane < kLanes; ++lane, rows += stride) {
    if (filter + lane >= job.cut.filters) {
      std::fill_n(rows, job.cut.block * area, 0.0f);
      continue;
    }
    LoadWeights(job.weight, filter + lane, begin * area, count, rows);
    std::fill(rows + count, rows + job.cut.block * area, 0.0f);
  }
}

// rows -> columns [tap][channel][kLanes]; taps that the phase has no weights for are left out.
void TransformFilters(const ConvJob& job, size_t phase, const float* rows, size_t stride,
                      float* columns) {
  const ConvCut& cut = job.cut;
  const VI lanes = hn::Mul(hn::Iota(kI, 0), hn::Set(kI, static_cast<int32_t>(stride)));
  for (size_t c = 0; c < cut.block; ++c, rows += cut.kernel_area) {
    float* out = columns + c * kLanes;
    const auto put = [&](VF value) {
      hn::Store(value, kF, out);
      out += cut.tap_floats();
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
  const size_t stride = cut.block * cut.kernel_area + 16;
  float* rows = job.Floats(job.layout.filters, thread);
  float* columns = job.Floats(job.layout.columns, thread);
  for (size_t filter = unit; filter < unit + kFilterUnit; filter += kLanes) {
    LoadFilters(job, job.first_filter + filter, block, rows, stride);
    TransformFilters(job, phase, rows, stride, columns);
    const size_t lane = filter % kPanel;
    for (size_t tap = 0; tap < cut.num_phase_taps; ++tap) {
      const size_t slice = tap * cut.num_blocks + block;
      PackColumns(columns + tap * cut.tap_floats(), cut.block, Element{},
                  PanelWords(job, phase, filter - lane, slice) + lane,
                  ColumnScales(job, phase, filter - lane, slice) + lane);
    }
  }
}

// ---- Tiles ----

// The window of a row of tiles: its rows of pixels, `width` pixels each, for a block of channels.
struct Window {
  float* pixels;
  int64_t top, left;  // in the picture
  size_t width;
  size_t block;
};

void LoadPixel(const ConvJob& job, const Window& window, const ChannelNorm& norm, size_t pixel,
               float* to) {
  const size_t first = window.block * job.cut.block;
  for (size_t c = 0; c < job.cut.block; c += kLanes) {
    const size_t channel = first + c;
    const size_t count = job.channels - std::min(channel, job.channels);
    VF x = LoadChannels(kF, job.x, pixel * job.x.stride + channel, count);
    if (job.op.norm_silu) x = Silu(kF, Normalize(kF, x, norm, channel));
    hn::Store(x, kF, to + c);
  }
}

// Rows [begin, end) of the window; zeros outside of the picture.
void LoadWindow(const ConvJob& job, const Window& window, size_t picture, size_t begin,
                size_t end) {
  const int shift = job.op.upsample && !job.cut.winograd ? 1 : 0;  // pixels stand twice
  const ChannelNorm norm = job.Norm(picture);
  const size_t stride = job.cut.line_stride();
  float* to = window.pixels + begin * window.width * stride;
  for (size_t row = begin; row < end; ++row) {
    const int64_t y = window.top + static_cast<int64_t>(row);
    const int64_t source = (y >> shift) - job.first_row;
    const bool is_inside = y >= 0 && y < job.height << shift;
    INGOT_CHECK(!is_inside || (source >= 0 && source < job.num_rows));
    for (size_t column = 0; column < window.width; ++column, to += stride) {
      const int64_t x = window.left + static_cast<int64_t>(column);
      if (!is_inside || x < 0 || x >= job.width << shift) {
        std::fill_n(to, job.cut.block, 0.0f);
        continue;
      }
      const int64_t line = static_cast<int64_t>(picture) * job.num_rows + source;
      LoadPixel(job, window, norm, static_cast<size_t>(line * job.width + (x >> shift)), to);
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
void PackRows(const ConvJob& job, size_t block, size_t thread, size_t num_rows, const Row& row) {
  const ConvCut& cut = job.cut;
  alignas(64) float sums[kLanes * 4] = {}, scales[kLanes], inverses[kLanes];
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
      const size_t slice = from.tap * cut.num_blocks + block;
      PackRow(from.x, cut.block, scales[i], Element{},
              job.Words(job.layout.rows, thread) + slice * cut.slice_words() +
                  RowOffset(from.tile, cut.words));
      if constexpr (std::is_same_v<Element, int16_t>) {
        job.Floats(job.layout.row_scales, thread)[slice * cut.max_tiles + from.tile] = inverses[i];
      }
    }
  }
}

// The tiles of one row: by Winograd their points.
template <class Element>
void PackPoints(const ConvJob& job, const Window& window, Range tiles, size_t thread) {
  const size_t stride = job.cut.line_stride();
  float* points = job.Floats(job.layout.points, thread);
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
    PackRows<Element>(job, window.block, thread, kWinogradPoints, [&](size_t point) -> TapRow {
      return {points + point * stride, tile, point};
    });
  }
}

// The same directly: the pixels of their windows.
template <class Element>
void PackWindows(const ConvJob& job, const Window& window, Range tiles, size_t thread) {
  const ConvCut& cut = job.cut;
  PackRows<Element>(
      job, window.block, thread, tiles.size() * cut.num_taps, [&](size_t i) -> TapRow {
        const size_t column = i / cut.num_taps, tap = i % cut.num_taps;
        const size_t pixel =
            tap / cut.edge_width * window.width + column * cut.step + tap % cut.edge_width;
        return {window.pixels + pixel * cut.line_stride(), tiles.begin + column, tap};
      });
}

// The left side of the products: all tiles of the chunk. A window keeps the rows that it shares
// with the one above.
template <class Element>
void PackTiles(const ConvJob& job, const Chunk& chunk) {
  const ConvCut& cut = job.cut;
  const size_t width = (chunk.columns.size() - 1) * cut.step + cut.edge_width;
  const size_t shared_rows = cut.edge_height > cut.step ? cut.edge_height - cut.step : 0;
  const size_t row_floats = width * cut.line_stride();
  for (size_t block = 0; block < cut.num_blocks; ++block) {
    size_t tile = 0;
    for (size_t row = chunk.rows.begin; row < chunk.rows.end; ++row) {
      const Window window = {
          .pixels = job.Floats(job.layout.window, chunk.thread),
          .top = static_cast<int64_t>(row * cut.step) - job.op.pad_top,
          .left = static_cast<int64_t>(chunk.columns.begin * cut.step) - job.op.pad_left,
          .width = width,
          .block = block};
      const size_t kept = row == chunk.rows.begin ? 0 : shared_rows;
      std::memmove(window.pixels, window.pixels + (cut.edge_height - kept) * row_floats,
                   kept * row_floats * sizeof(float));
      LoadWindow(job, window, chunk.picture, kept, cut.edge_height);
      const Range tiles = {tile, tile + chunk.columns.size()};
      if (cut.winograd) {
        PackPoints<Element>(job, window, tiles, chunk.thread);
      } else {
        PackWindows<Element>(job, window, tiles, chunk.thread);
      }
      tile = tiles.end;
    }
  }
}

// ---- Products ----

// Sums of a panel stand tile by tile: [tile][point][kPanel].
float* Sums(const ConvJob& job, size_t thread, size_t panel) {
  return job.Floats(job.layout.sums, thread) +
         panel * job.cut.max_tiles * job.cut.num_points * kPanel;
}

// Slices [first, first + count) of the tiles by the same number of the panel from `panel_slice` on,
// added up.
template <class Element>
void MultiplySlices(const ConvJob& job, const Chunk& chunk, Range slices, size_t phase,
                    size_t filter, size_t panel_slice, float* sums) {
  const ConvCut& cut = job.cut;
  const size_t sums_stride = cut.num_points * kPanel;
  for (size_t slice = slices.begin; slice < slices.end; ++slice, ++panel_slice) {
    for (size_t tile = 0; tile < chunk.num_tiles(); tile += kBlockRows) {
      Multiply<Element>({.rows = job.Words(job.layout.rows, chunk.thread) +
                                 slice * cut.slice_words() + RowOffset(tile, cut.words),
                         .panel = PanelWords(job, phase, filter, panel_slice),
                         .num_lines = cut.words / kLineWords,
                         .row_scales = job.Floats(job.layout.row_scales, chunk.thread) +
                                       slice * cut.max_tiles + tile,
                         .column_scales = ColumnScales(job, phase, filter, panel_slice),
                         .sums = sums + tile * sums_stride,
                         .sums_stride = sums_stride,
                         .continues = slice > slices.begin});
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
  const size_t count = cut.num_slices() / cut.num_points;
  size_t panel_slice = 0;
  for (size_t point = 0; point < cut.num_points; ++point) {
    const bool is_skipped = cut.num_phases == 4 && PhaseSkips(phase, point);
    for (size_t filter = filters.begin; filter < filters.end; filter += kPanel) {
      float* sums = Sums(job, chunk.thread, (filter - filters.begin) / kPanel) + point * kPanel;
      if (is_skipped) {
        ClearPoint(job, chunk, sums);
      } else {
        MultiplySlices<Element>(job, chunk, {point * count, (point + 1) * count}, phase, filter,
                                panel_slice, sums);
      }
    }
    if (!is_skipped) panel_slice += count;
  }
}

// ---- Outputs ----

// Channels [filter, filter + kLanes) of one output pixel: adds bias and residual.
void StoreOutput(const ConvJob& job, size_t picture, int64_t y, int64_t x, size_t filter,
                 VF value) {
  const int64_t row = y - job.first_out;
  if (row < 0 || row >= job.num_out || x >= job.out_width) return;
  const size_t count = job.cut.filters - filter;
  const int64_t line = static_cast<int64_t>(picture) * job.num_out + row;
  const size_t pixel = static_cast<size_t>(line * job.out_width + x);
  if (job.bias != nullptr) {
    value = hn::Add(value, count >= kLanes ? hn::LoadU(kF, job.bias + filter)
                                           : LoadFirst(kF, job.bias + filter, count));
  }
  if (job.op.residual) {
    const size_t at = pixel * job.residual.stride + filter;
    value = hn::Add(value, LoadChannels(kF, job.residual, at, count));
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
        StoreOutput(job, chunk.picture, top + static_cast<int64_t>(i) * scale,
                    left + static_cast<int64_t>(j) * scale, job.first_filter + filter, value);
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

const ConstTensorView* Operand(const OpCall& call, int idx) {
  return idx < 0 ? nullptr : &call.inputs[static_cast<size_t>(idx)];
}

void FoldNorms(const ConvJob& job, const OpCall& call) {
  const op::Conv2dOperands at = op::OperandsOf(job.op);
  const ConstTensorView& stats = *Operand(call, at.stats);
  const size_t num_groups = static_cast<size_t>(stats.shape[1]);
  for (size_t picture = 0; picture < job.batch; ++picture) {
    const ChannelNorm norm = job.Norm(picture);
    std::fill_n(norm.mean, 3 * job.cut.padded_channels(), 0.0f);  // zeros stay zeros
    FoldGroupNorm(stats.As<float>().data() + picture * num_groups * 2, num_groups,
                  Operand(call, at.norm_weight)->As<float>().data(),
                  Operand(call, at.norm_bias)->As<float>().data(), job.channels, norm);
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
  job.parts_filters = std::clamp<size_t>(job.cut.group / kSubgroup, 1, wanted);
}

}  // namespace

int64_t WorkspaceBytes(const op::Conv2d& op, const OpSignature& signature, size_t num_threads) {
  const Shape& x = signature.input_shapes[0];
  const int weight = op::OperandsOf(op).weight;
  const ConvCut cut(op, x, signature.input_shapes[static_cast<size_t>(weight)]);
  const ConvLayout layout(cut, static_cast<size_t>(x[0]));
  return static_cast<int64_t>(layout.first_thread + num_threads * layout.thread_bytes);
}

void RunRows(const op::Conv2d& op, const OpCall& call, const ConvRows& rows, ThreadPool& pool) {
  const op::Conv2dOperands at = op::OperandsOf(op);
  const ConstTensorView& x = call.inputs[0];
  const ConstTensorView& weight = *Operand(call, at.weight);
  const Shape &w = weight.shape, &out = call.output.shape;
  const ConvCut cut(op, {x.shape[0], rows.height, x.shape[2], x.shape[3]}, w);
  const ConvLayout layout(cut, static_cast<size_t>(x.shape[0]));
  ConvJob job{.op = op,
              .cut = cut,
              .layout = layout,
              .workspace = call.workspace.data(),
              .x = PixelsOf(x),
              .residual = op.residual ? PixelsOf(*Operand(call, at.residual)) : Pixels(),
              .out = PixelsOf(call.output),
              .weight = {weight.dtype, {w[0], w[1] * w[2] * w[3]}, weight.data, weight.scale},
              .bias = op.has_bias ? Operand(call, at.bias)->As<float>().data() : nullptr,
              .batch = static_cast<size_t>(x.shape[0]),
              .channels = static_cast<size_t>(x.shape[3]),
              .width = x.shape[2],
              .height = rows.height,
              .first_row = rows.first_row,
              .num_rows = x.shape[1],
              .out_width = out[2],
              .first_out = rows.first_output_row,
              .num_out = out[1]};
  if (op.norm_silu) FoldNorms(job, call);
  for (size_t first = 0; first < cut.filters; first += cut.group) {
    job.first_filter = first;
    job.num_filters =
        std::min(cut.group, CeilDivide(cut.filters - first, kFilterUnit) * kFilterUnit);
    ShareOut(job, pool.num_threads());
    // One captured reference: more would make std::function allocate (promise P3).
    pool.ParallelFor(job.num_filters / kFilterUnit * cut.num_phases * cut.num_blocks,
                     [&job](size_t item, size_t thread) {
                       HWY_DYNAMIC_DISPATCH(PackFiltersItem)(job, item, thread);
                     });
    pool.ParallelFor(job.batch * job.parts_high * job.parts_wide * job.parts_filters,
                     [&job](size_t item, size_t thread) {
                       HWY_DYNAMIC_DISPATCH(RunChunkItem)(job, item, thread);
                     });
  }
}

void Run(const op::Conv2d& op, const OpCall& call, ThreadPool& pool) {
  RunRows(op, call, {.height = call.inputs[0].shape[1], .first_row = 0, .first_output_row = 0},
          pool);
}

}  // namespace ingot::cpu
#endif  // HWY_ONCE
