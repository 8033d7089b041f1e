#include "devices/cpu/movement.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <functional>

#include "devices/cpu/dequantize.h"

namespace ingot::cpu {
namespace {

constexpr size_t kGrain = 16384;

size_t CeilDivide(size_t a, size_t b) { return (a + b - 1) / b; }

// `count` runs of `length` elements, the starts of neighbours a step apart.
struct Runs {
  const float* from;
  size_t from_step;
  float* to;
  size_t to_step;
  size_t length, count;
};

void CopyRuns(const Runs& runs, ThreadPool& pool) {
  const size_t num_elements = runs.length * runs.count;
  const auto body = [&](size_t item, size_t) {
    const size_t end = std::min((item + 1) * kGrain, num_elements);
    for (size_t i = item * kGrain; i < end;) {
      const size_t run = i / runs.length, begin = i % runs.length;
      const size_t n = std::min(runs.length - begin, end - i);
      std::copy_n(runs.from + run * runs.from_step + begin, n,
                  runs.to + run * runs.to_step + begin);
      i += n;
    }
  };
  pool.ParallelFor(CeilDivide(num_elements, kGrain), std::cref(body));
}

// Elements of the dimensions [begin, end).
size_t Product(const Shape& shape, int begin, int end) {
  size_t product = 1;
  for (int i = begin; i < end; ++i) product *= static_cast<size_t>(shape[i]);
  return product;
}

// One axis of a permuted output: its distance in memory in x and in the output.
struct Axis {
  size_t dim, from_step, to_step;
};

// The axes of the output from the outermost; neighbours that are also
// neighbours in x are merged, and axes of 1 dropped.
struct Axes {
  Axes(const Shape& from, const Shape& to, const op::Permute& op) {
    for (int i = 0; i < to.rank(); ++i) {
      if (to[i] == 1) continue;
      const int source = op.axes[static_cast<size_t>(i)];
      const Axis axis = {static_cast<size_t>(to[i]), Product(from, source + 1, from.rank()),
                         Product(to, i + 1, to.rank())};
      if (rank > 0 && (*this)[rank - 1].from_step == axis.from_step * axis.dim) {
        Axis& last = axes[rank - 1];
        last = {last.dim * axis.dim, axis.from_step, axis.to_step};
      } else {
        axes[rank++] = axis;
      }
    }
    if (rank == 0) axes[rank++] = {1, 1, 1};
  }
  const Axis& operator[](size_t i) const { return axes[i]; }
  const Axis& inner() const { return axes[rank - 1]; }

  // Takes axis i out and returns it.
  Axis Remove(size_t i) {
    const Axis removed = axes[i];
    std::copy(axes.begin() + static_cast<std::ptrdiff_t>(i) + 1, axes.end(),
              axes.begin() + static_cast<std::ptrdiff_t>(i));
    --rank;
    return removed;
  }

  size_t num_indices() const {
    size_t product = 1;
    for (size_t i = 0; i < rank; ++i) product *= axes[i].dim;
    return product;
  }

  // Where the elements of flat index `index` over all axes stand.
  struct Offsets {
    size_t from = 0, to = 0;
  };
  Offsets At(size_t index) const {
    Offsets offsets;
    for (size_t i = rank; i-- > 0; index /= axes[i].dim) {
      offsets.from += index % axes[i].dim * axes[i].from_step;
      offsets.to += index % axes[i].dim * axes[i].to_step;
    }
    return offsets;
  }

  std::array<Axis, Shape::kMaxRank> axes = {};
  size_t rank = 0;
};

// The innermost axis stays innermost: runs of it are copied.
void PermuteRuns(Axes axes, const float* x, float* out, ThreadPool& pool) {
  const size_t length = axes.Remove(axes.rank - 1).dim;
  const size_t num_runs = axes.num_indices();
  const size_t runs_per_item = std::max<size_t>(kGrain / length, 1);
  const auto body = [&](size_t item, size_t) {
    const size_t end = std::min((item + 1) * runs_per_item, num_runs);
    for (size_t run = item * runs_per_item; run < end; ++run) {
      const Axes::Offsets at = axes.At(run);
      std::copy_n(x + at.from, length, out + at.to);
    }
  };
  pool.ParallelFor(CeilDivide(num_runs, runs_per_item), std::cref(body));
}

// x's innermost axis (columns) goes elsewhere, another (rows) becomes innermost:
// planes of these two are transposed in tiles whose lines stay in L1.
void TransposePlanes(Axes axes, const float* x, float* out, ThreadPool& pool) {
  constexpr size_t kTile = 32, kStrip = kGrain / kTile;
  const Axis rows = axes.Remove(axes.rank - 1);
  size_t innermost = 0;
  while (axes[innermost].from_step != 1) ++innermost;
  const Axis columns = axes.Remove(innermost);
  const size_t num_tiles = CeilDivide(columns.dim, kTile);
  const size_t num_strips = CeilDivide(rows.dim, kStrip);
  const auto body = [&](size_t item, size_t) {
    const Axes::Offsets at = axes.At(item / (num_tiles * num_strips));
    const size_t column = item / num_strips % num_tiles * kTile;
    const size_t column_end = std::min(column + kTile, columns.dim);
    const size_t strip = item % num_strips * kStrip;
    const size_t strip_end = std::min(strip + kStrip, rows.dim);
    for (size_t row = strip; row < strip_end; row += kTile) {
      const size_t row_end = std::min(row + kTile, strip_end);
      for (size_t c = column; c < column_end; ++c) {
        for (size_t r = row; r < row_end; ++r) {
          out[at.to + c * columns.to_step + r] = x[at.from + r * rows.from_step + c];
        }
      }
    }
  };
  pool.ParallelFor(axes.num_indices() * num_tiles * num_strips, std::cref(body));
}

}  // namespace

void Run(const op::Permute& op, const OpCall& call, ThreadPool& pool) {
  const Axes axes(call.inputs[0].shape, call.output.shape, op);
  const float* x = call.inputs[0].As<float>().data();
  float* out = call.output.As<float>().data();
  if (axes.inner().from_step == 1) return PermuteRuns(axes, x, out, pool);
  TransposePlanes(axes, x, out, pool);
}

void Run(const op::Slice& op, const OpCall& call, ThreadPool& pool) {
  const Shape &from = call.inputs[0].shape, &to = call.output.shape;
  const size_t step = Product(from, op.axis + 1, from.rank());
  CopyRuns({.from = call.inputs[0].As<float>().data() + static_cast<size_t>(op.begin) * step,
            .from_step = Product(from, op.axis, from.rank()),
            .to = call.output.As<float>().data(),
            .to_step = Product(to, op.axis, to.rank()),
            .length = Product(to, op.axis, to.rank()),
            .count = Product(to, 0, op.axis)},
           pool);
}

void Run(const op::Concat& op, const OpCall& call, ThreadPool& pool) {
  const Shape& to = call.output.shape;
  float* out = call.output.As<float>().data();
  for (const ConstTensorView& input : call.inputs) {
    const size_t length = Product(input.shape, op.axis, to.rank());
    CopyRuns({.from = input.As<float>().data(),
              .from_step = length,
              .to = out,
              .to_step = Product(to, op.axis, to.rank()),
              .length = length,
              .count = Product(to, 0, op.axis)},
             pool);
    out += length;
  }
}

void Run(const op::Embedding&, const OpCall& call, ThreadPool& pool) {
  const auto ids = call.inputs[0].As<int32_t>();
  const size_t width = static_cast<size_t>(call.output.shape.back());
  const auto body = [&](size_t i, size_t) {
    DequantizeWeightRow(call.inputs[1], ids[i], call.output.As<float>().data() + i * width);
  };
  pool.ParallelFor(ids.size(), std::cref(body));
}

void Run(const op::UpsampleNearest2x&, const OpCall& call, ThreadPool& pool) {
  const Shape& shape = call.inputs[0].shape;
  const size_t width = static_cast<size_t>(shape[2]), channels = static_cast<size_t>(shape[3]);
  const auto body = [&](size_t row, size_t) {
    const float* x = call.inputs[0].As<float>().data() + row * width * channels;
    float* out = call.output.As<float>().data() + row * 4 * width * channels;
    for (size_t pixel = 0; pixel < 2 * width; ++pixel) {
      std::copy_n(x + pixel / 2 * channels, channels, out + pixel * channels);
    }
    std::copy_n(out, 2 * width * channels, out + 2 * width * channels);
  };
  pool.ParallelFor(static_cast<size_t>(shape[0] * shape[1]), std::cref(body));
}

}  // namespace ingot::cpu
