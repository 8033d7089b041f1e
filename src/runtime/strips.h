// Pictures that are spilled (spill.h), and the ops that then run strip by strip.
#pragma once

#include <cstdint>
#include <limits>
#include <vector>

#include "devices/device.h"
#include "graph/graph.h"
#include "runtime/storage.h"

namespace ingot {

struct StripOptions {
  // Larger pictures are spilled, where all that makes and reads them takes strips.
  int64_t max_picture_bytes = std::numeric_limits<int64_t>::max();
  int64_t strip_rows = 64;  // of the output; a multiple of kStripGrid
};

struct SpilledPictures {
  std::vector<int64_t> spill_offsets;  // of every root; -1: in the device's memory
  int64_t num_bytes = 0;

  bool Has(int32_t root) const { return spill_offsets[static_cast<size_t>(root)] >= 0; }
};

// Steps of `storage` are the order of the run. A picture is spilled when it is larger than the
// options say, one picture (batch 1) whose rows are whole pages, made by a Conv2d, and read by none
// but Conv2d (as x or residual) and GroupNormStats.
SpilledPictures FindSpilledPictures(const Graph& graph, const Storage& storage,
                                    const Device& device, const StripOptions& options);

struct RowRange {
  int64_t begin = 0, end = 0;
};

// Rows of x that the rows [begin, end) of a Conv2d's output reach, those of whole tiles of
// kStripGrid rows; `num_rows` are in x.
RowRange WindowOf(const op::Conv2d& op, int64_t kernel_rows, int64_t num_rows, RowRange output);

}  // namespace ingot
