// How a convolution is cut into pieces of work, and where their numbers stand in the workspace.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "devices/cpu/pixels.h"
#include "devices/device.h"
#include "graph/op.h"
#include "tensor/shape.h"
#include "tensor/view.h"

namespace ingot::cpu {

inline size_t CeilDivide(size_t a, size_t b) { return (a + b - 1) / b; }
inline size_t RoundUp(size_t a, size_t b) { return CeilDivide(a, b) * b; }

struct Range {
  size_t begin, end;
  size_t size() const { return end - begin; }
};
// Part `i` of [0, n) cut in `parts`.
inline Range Part(size_t n, size_t parts, size_t i) { return {n * i / parts, n * (i + 1) / parts}; }

// Filters are cut at multiples of this: a panel of every SIMD target fits in.
inline constexpr size_t kFilterUnit = 32;
// Filters whose sums of all tiles of a chunk stay in cache: 1.8 MiB. 64 are as fast.
inline constexpr size_t kSubgroup = 128;

// How a convolution is cut; follows from its whole shape alone.
//
// The output is made in tiles: of 4x4 by Winograd, of one pixel directly. A tile of `num_points`
// sums is the product of its rows of numbers and the filters', tap by tap. A tap is a point of
// Winograd's with a sum of its own, or an element of the window, all in one sum. Channels go in
// blocks; what one tap has of one block is a slice.
struct ConvCut {
  ConvCut(const op::Conv2d& op, const Shape& x, const Shape& weight);

  size_t num_slices() const { return num_taps * num_blocks; }
  size_t num_phase_slices() const { return num_phase_taps * num_blocks; }
  size_t slices_per_point() const { return num_slices() / num_points; }
  size_t padded_channels() const { return num_blocks * block; }
  size_t output_scale() const { return num_phases == 4 ? 2 : 1; }
  size_t max_window_width() const { return (max_wide - 1) * step + edge_width; }
  // A cache line more than the numbers need: pixels, points, taps and slices would else meet in one
  // set of the cache.
  size_t pixel_stride() const { return block + 16; }
  size_t filter_stride() const { return block * kernel_area + 16; }
  size_t tap_stride() const { return block * 16 + 16; }
  size_t slice_words() const { return max_tiles * words + 16; }

  bool winograd = false;
  size_t filters = 0, kernel_area = 0;
  size_t tile = 1;                         // outputs along an edge
  size_t step = 1;                         // pixels from tile to tile
  size_t edge_height = 0, edge_width = 0;  // pixels that a tile reads
  size_t num_points = 1, num_taps = 0;
  size_t num_phases = 1;               // 4: Winograd makes the rows and columns of 2x apart
  size_t num_phase_taps = 0;           // taps for which a phase has weights
  size_t block = 0, num_blocks = 0;    // channels, a multiple of 32
  size_t words = 0;                    // of 32 bits in a row of one slice
  size_t max_wide = 0, max_tiles = 0;  // tiles of a chunk: in a row, in all
  size_t group = 0;                    // filters that the workspace holds at a time

 private:
  void CutWinograd(const op::Conv2d& op);
  void CutDirect(const op::Conv2d& op, const Shape& weight);
  void CutChannels(const op::Conv2d& op, size_t channels);
  void CutFilters();
};

// Where everything stands in the workspace, in bytes. Every thread has a part of its own, in which
// filters in transformation and tiles take turns.
struct ConvLayout {
  ConvLayout(const ConvCut& cut, size_t batch);

  size_t norms;                  // [batch][3][padded channels]
  size_t panels, column_scales;  // of a group of filters
  size_t first_thread, thread_bytes;
  size_t filters, columns;                        // in a thread's part
  size_t rows, row_scales, sums, window, points;  // in the same
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
  // The group of filters at work.
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

// Tiles of one picture by some filters.
struct Chunk {
  size_t picture;
  Range rows, columns;  // of tiles
  Range filters;        // of the group, multiples of kFilterUnit
  size_t thread;

  size_t num_tiles() const { return rows.size() * columns.size(); }
};

// Chunk `item` of the job.
Chunk ChunkOf(const ConvJob& job, size_t item, size_t thread);

}  // namespace ingot::cpu
