// One Linear in 8 bits: how its K and rows are cut, and where their numbers stand in the workspace.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <stop_token>

#include <hwy/base.h>

#include "devices/cpu/cpu_target.h"
#include "devices/cpu/linear_call.h"

namespace ingot::cpu {

inline constexpr size_t kScaleK = 256;  // K that share a scale
inline constexpr size_t kPanelFeatures = 64;
inline constexpr size_t kMaxPanels = 2;     // of one item of work
inline constexpr size_t kMaxOutliers = 64;  // K of the outliers' block
inline constexpr float kOutlierFactor = 6.0f;
inline constexpr size_t kSliceK = 1024;      // K of one item of the search for outliers
inline constexpr size_t kQuantizeRows = 32;  // rows of one item of the quantizer
inline constexpr size_t kWidthGrid = 64;     // K of the last block is filled up with zeros to this
inline constexpr float kLeastMax = 1e-30f;   // keeps 127 / max finite
inline constexpr float kMagic = 0x1.8p23f;   // kMagic + an integer below 2^22 is exact
// f32 rows that are read twice (search, quantizer) without leaving L3.
inline constexpr size_t kBatchBytes = size_t{16} << 20;

// The outlier channels of a group of rows, ascending.
struct Outliers {
  uint32_t count;
  uint32_t channels[kMaxOutliers];
};

// Rows [begin, begin + count) of the call: a part of one picture.
struct RowGroup {
  size_t begin, count;
};

// One block of K of a panel of weights.
struct PanelBlock {
  std::byte* values;  // [tiles of features][width / kPerDword][features of a tile][kPerDword]
  int32_t* starts;    // [kPanelFeatures], where sums of unsigned x start
  float* scales;      // [kPanelFeatures]
  float* offsets;     // scales * kMagic
};

// Rows of x against features of one block of K.
struct Sweep {
  // The same of the rows from `rows` on.
  Sweep From(size_t rows) const {
    Sweep rest = *this;
    rest.x += rows * x_stride;
    rest.row_scales += rows;
    rest.sums += rows * kPanelFeatures;
    if (out != nullptr) rest.out += rows * out_stride;
    return rest;
  }
  // Of rows [first, first + count), once their sums are final.
  void PrefetchOut(size_t first, size_t count) const {
    if (out == nullptr) return;
    for (size_t row = first; row < first + count; ++row) {
      for (size_t i = 0; i < kPanelFeatures; i += 16) {
        __builtin_prefetch(out + row * out_stride + i, 1);
      }
    }
  }

  const std::byte* x;  // bytes x + 128 where there are products of bytes, 16-bit integers elsewhere
  size_t x_stride;     // bytes from row to row
  const float* row_scales;
  PanelBlock block = {};  // at the first feature
  size_t num_k;           // a multiple of kWidthGrid
  float* sums = nullptr;  // rows kPanelFeatures apart
  // Where the sums go when this is the last block, to be fetched in time; null before.
  const float* out = nullptr;
  size_t out_stride;
};

// Parts of the workspace one after the other, each aligned; with no memory, their sum.
class Carver {
 public:
  explicit Carver(std::byte* memory) : memory_(memory) {}
  template <typename T>
  T* Take(size_t count) {
    std::byte* part = memory_ == nullptr ? nullptr : memory_ + used_;
    used_ += hwy::RoundUpTo(count * sizeof(T), size_t{kTensorAlignment});
    return reinterpret_cast<T*>(part);
  }
  size_t used() const { return used_; }

 private:
  std::byte* memory_;
  size_t used_ = 0;
};

// 64 features: all blocks of K one after the other, and what a group's rows add up to.
struct Panel {
  PanelBlock weights;
  float* sums;  // [kRowGrid][kPanelFeatures]
};

struct Int8Scratch {
  Panel panels[kMaxPanels];
  PanelBlock outliers;  // of the group and the panel in work
  int16_t* wide;        // [kRowGrid][kScaleK]: x of a block where products are of 16 bits
  uint64_t* keys;       // [K], for the choice of outliers
};

// Sizes and places in the workspace.
struct Int8Layout {
  Int8Layout(const LinearCall& call, size_t num_threads, bool uses_tiles)
      : num_rows(call.num_rows),
        num_k(call.num_k),
        rows_per_picture(call.rows_per_picture),
        panels_per_item(uses_tiles ? PanelsPerItem(call.num_features, num_threads) : 1),
        num_blocks(hwy::DivCeil(num_k, kScaleK)),
        padded_k(hwy::RoundUpTo(num_k, kWidthGrid)),
        groups_per_picture(hwy::DivCeil(rows_per_picture, static_cast<size_t>(kRowGrid))),
        num_groups(num_rows / rows_per_picture * groups_per_picture),
        batch_groups(
            std::clamp<size_t>(kBatchBytes / (kRowGrid * num_k * sizeof(float)), 1, num_groups)) {}

  // Tiles read x faster than L3 gives it, so it comes from there once for two panels; but not where
  // fewer items would leave some of many threads without work.
  static size_t PanelsPerItem(size_t num_features, size_t num_threads) {
    constexpr size_t kLeastItems = 4;  // of a thread
    const bool has_enough = num_features >= kMaxPanels * kPanelFeatures * kLeastItems * num_threads;
    return has_enough ? kMaxPanels : 1;
  }

  // Of block num_blocks, the outliers', too.
  size_t width(size_t block) const {
    return block == num_blocks ? kMaxOutliers : std::min(kScaleK, padded_k - block * kScaleK);
  }
  RowGroup group(size_t idx) const {
    const size_t begin = idx % groups_per_picture * kRowGrid;
    return {idx / groups_per_picture * rows_per_picture + begin,
            std::min<size_t>(kRowGrid, rows_per_picture - begin)};
  }

  size_t num_rows, num_k, rows_per_picture, panels_per_item;
  size_t num_blocks, padded_k, groups_per_picture, num_groups, batch_groups;
};

struct Int8Job {
  Int8Job(const LinearCall& c, size_t num_threads, std::byte* memory)
      : call(c), uses_tiles(UsesAmx()), layout(c, num_threads, uses_tiles) {
    Carver carver(memory);
    CarveShared(carver);
    threads = carver.Take<std::byte>(0);
  }
  void CarveShared(Carver& carver) {
    slab = carver.Take<uint8_t>((layout.padded_k + kMaxOutliers) * layout.num_rows);
    row_scales = carver.Take<float>((layout.num_blocks + 1) * layout.num_rows);
    outliers = carver.Take<Outliers>(layout.num_groups);
    maxima = carver.Take<int32_t>(layout.batch_groups * layout.padded_k);
    norms = carver.Take<float>(2 * layout.num_rows);
  }

  // Bytes of row `row` at block `block` of K; the next row's are a width behind. Block num_blocks
  // is the outliers'.
  uint8_t* SlabRow(size_t block, size_t row) const {
    const size_t begin = std::min(block * kScaleK, layout.padded_k);
    return slab + begin * layout.num_rows + row * layout.width(block);
  }
  float* RowScale(size_t block, size_t row) const {
    return row_scales + block * layout.num_rows + row;
  }

  const LinearCall& call;
  bool uses_tiles;  // of AMX
  Int8Layout layout;
  uint8_t* slab = nullptr;       // [blocks][rows][width], x + 128
  float* row_scales = nullptr;   // [blocks][rows]
  Outliers* outliers = nullptr;  // [groups]
  int32_t* maxima = nullptr;     // [groups of a batch][padded_k], max|x| of channels as bits
  float* norms = nullptr;        // [rows][2]: RowNorm
  std::byte* threads = nullptr;
  size_t batch_begin = 0;  // first group of the batch
  const std::stop_token* stop = nullptr;
};

}  // namespace ingot::cpu
