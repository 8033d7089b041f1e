#include "devices/cpu/group_norm.h"

#include <algorithm>
#include <cmath>
#include <functional>

#include "devices/cpu/pixels.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "devices/cpu/group_norm.cc"
#include <hwy/foreach_target.h>  // IWYU pragma: keep

#include "devices/cpu/pixels-inl.h"

#ifndef INGOT_DEVICES_CPU_GROUP_NORM_ONCE_
#define INGOT_DEVICES_CPU_GROUP_NORM_ONCE_
namespace ingot::cpu {

struct GroupSums {
  double sum, squares;
};

struct PictureSize {
  PictureSize(const Shape& shape, int groups)
      : batch(static_cast<size_t>(shape[0])),
        height(static_cast<size_t>(shape[1])),
        width(static_cast<size_t>(shape[2])),
        channels(static_cast<size_t>(shape[3])),
        num_groups(static_cast<size_t>(groups)) {}
  size_t num_rows() const { return batch * height; }
  size_t group_channels() const { return channels / num_groups; }

  size_t batch, height, width, channels, num_groups;
};

}  // namespace ingot::cpu
#endif  // INGOT_DEVICES_CPU_GROUP_NORM_ONCE_

HWY_BEFORE_NAMESPACE();
namespace ingot::cpu {
namespace HWY_NAMESPACE {
namespace {

constexpr hn::ScalableTag<float> kTag;
using V = hn::Vec<decltype(kTag)>;
constexpr size_t kLanes = hn::MaxLanes(kTag);
constexpr size_t kVectors = 4;  // sums that do not wait for each other
constexpr size_t kChannels = kVectors * kLanes;
constexpr size_t kRun = 32;  // pixels

// Sums of each of the channels [c, c + kChannels) over a row; of `count` of them.
void SumChannels(const PictureSize& size, const Pixels& row, size_t first, size_t c, size_t count,
                 GroupSums (&out)[kChannels]) {
  const auto load = [&](size_t pixel, size_t v) {
    return LoadChannels(kTag, row, (first + pixel) * row.stride + c + v * kLanes,
                        count - std::min(count, v * kLanes));
  };
  alignas(64) float pivots[kChannels], sums[kChannels], squares[kChannels];
  double sum[kChannels] = {}, square[kChannels] = {};
  for (size_t v = 0; v < kVectors; ++v) hn::Store(load(0, v), kTag, pivots + v * kLanes);
  for (size_t begin = 0; begin < size.width; begin += kRun) {
    V s[kVectors], q[kVectors];
    for (size_t v = 0; v < kVectors; ++v) s[v] = q[v] = hn::Zero(kTag);
    for (size_t pixel = begin; pixel < std::min(begin + kRun, size.width); ++pixel) {
      for (size_t v = 0; v < kVectors; ++v) {
        const V distance = hn::Sub(load(pixel, v), hn::Load(kTag, pivots + v * kLanes));
        s[v] = hn::Add(s[v], distance);
        q[v] = hn::MulAdd(distance, distance, q[v]);
      }
    }
    for (size_t v = 0; v < kVectors; ++v) {
      hn::Store(s[v], kTag, sums + v * kLanes);
      hn::Store(q[v], kTag, squares + v * kLanes);
    }
    for (size_t i = 0; i < kChannels; ++i) {
      sum[i] += static_cast<double>(sums[i]);
      square[i] += static_cast<double>(squares[i]);
    }
  }
  const double n = static_cast<double>(size.width);
  for (size_t i = 0; i < kChannels; ++i) {
    const double p = static_cast<double>(pivots[i]);
    out[i] = {sum[i] + n * p, square[i] + 2.0 * p * sum[i] + n * p * p};
  }
}

// Sums of every group over the row of pixels that begins at `first`.
void SumRow(const PictureSize& size, const Pixels& x, size_t first, GroupSums* groups) {
  std::fill_n(groups, size.num_groups, GroupSums{0.0, 0.0});
  for (size_t c = 0; c < size.channels; c += kChannels) {
    const size_t count = std::min(kChannels, size.channels - c);
    GroupSums channels[kChannels];
    SumChannels(size, x, first, c, count, channels);
    for (size_t i = 0; i < count; ++i) {
      GroupSums& group = groups[(c + i) / size.group_channels()];
      group.sum += channels[i].sum;
      group.squares += channels[i].squares;
    }
  }
}

void NormalizeRow(const PictureSize& size, const Pixels& x, const ChannelNorm& norm, size_t first,
                  const MutablePixels& out) {
  for (size_t pixel = first; pixel < first + size.width; ++pixel) {
    for (size_t c = 0; c < size.channels; c += kLanes) {
      const size_t count = std::min(kLanes, size.channels - c);
      const V y = hn::MulAdd(hn::Sub(LoadChannels(kTag, x, pixel * x.stride + c, count),
                                     LoadFirst(kTag, norm.mean + c, count)),
                             LoadFirst(kTag, norm.scale + c, count),
                             LoadFirst(kTag, norm.shift + c, count));
      StoreChannels(y, kTag, out, pixel * out.stride + c, count);
    }
  }
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace ingot::cpu
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace ingot::cpu {

HWY_EXPORT(SumRow);
HWY_EXPORT(NormalizeRow);

namespace {

size_t SumsBytes(const PictureSize& size) {
  return size.num_rows() * size.num_groups * sizeof(GroupSums);
}

// Sums of the rows of x, which are rows [begin, begin + size.height) of pictures of `picture_rows`.
// sums [B, picture_rows, num_groups].
void TakeSums(const PictureSize& size, const Pixels& x, size_t begin, size_t picture_rows,
              GroupSums* sums, ThreadPool& pool) {
  const auto sum_row = [&](size_t row, size_t) {
    const size_t to = row / size.height * picture_rows + begin + row % size.height;
    HWY_DYNAMIC_DISPATCH(SumRow)(size, x, row * size.width, sums + to * size.num_groups);
  };
  pool.ParallelFor(size.num_rows(), std::cref(sum_row));
}

// Statistics of whole pictures from the sums of their rows: stats [B, num_groups, 2].
void JoinSums(const PictureSize& size, const GroupSums* sums, float eps, float* stats) {
  const double count = static_cast<double>(size.height * size.width * size.group_channels());
  for (size_t i = 0; i < size.batch * size.num_groups; ++i) {
    const size_t picture = i / size.num_groups, group = i % size.num_groups;
    GroupSums total = {0.0, 0.0};
    for (size_t row = picture * size.height; row < (picture + 1) * size.height; ++row) {
      total.sum += sums[row * size.num_groups + group].sum;
      total.squares += sums[row * size.num_groups + group].squares;
    }
    const double mean = total.sum / count, variance = total.squares / count - mean * mean;
    stats[2 * i] = static_cast<float>(mean);
    stats[2 * i + 1] = static_cast<float>(1.0 / std::sqrt((variance < 0 ? 0 : variance) + eps));
  }
}

}  // namespace

int64_t WorkspaceBytes(const op::GroupNormStats& op, const OpSignature& signature, size_t) {
  return static_cast<int64_t>(SumsBytes({signature.input_shapes[0], op.num_groups}));
}

void Run(const op::GroupNormStats& op, const OpCall& call, ThreadPool& pool) {
  const PictureSize strip(call.inputs[0].shape, op.num_groups);
  PictureSize picture = strip;
  size_t begin = 0;
  if (call.strip != nullptr) {
    begin = static_cast<size_t>(call.strip->begin);
    picture.height = static_cast<size_t>(call.strip->picture_rows);
  }
  auto* sums = reinterpret_cast<GroupSums*>(call.workspace.data());
  TakeSums(strip, PixelsOf(call.inputs[0]), begin, picture.height, sums, pool);
  if (begin + strip.height < picture.height) return;
  JoinSums(picture, sums, op.eps, call.output.As<float>().data());
}

int64_t WorkspaceBytes(const op::GroupNorm& op, const OpSignature& signature, size_t) {
  const PictureSize size(signature.input_shapes[0], op.num_groups);
  const size_t num_floats = size.batch * (2 * size.num_groups + 3 * size.channels);
  return static_cast<int64_t>(SumsBytes(size) + num_floats * sizeof(float));
}

void Run(const op::GroupNorm& op, const OpCall& call, ThreadPool& pool) {
  const PictureSize size(call.inputs[0].shape, op.num_groups);
  const Pixels x = PixelsOf(call.inputs[0]);
  const MutablePixels out = PixelsOf(call.output);
  float* stats = reinterpret_cast<float*>(call.workspace.data() + SumsBytes(size));
  auto* sums = reinterpret_cast<GroupSums*>(call.workspace.data());
  TakeSums(size, x, 0, size.height, sums, pool);
  JoinSums(size, sums, op.eps, stats);
  float* norms = stats + 2 * size.batch * size.num_groups;
  const auto norm_of = [&](size_t picture) -> ChannelNorm {
    float* norm = norms + picture * 3 * size.channels;
    return {norm, norm + size.channels, norm + 2 * size.channels};
  };
  for (size_t picture = 0; picture < size.batch; ++picture) {
    FoldGroupNorm(stats + picture * 2 * size.num_groups, size.num_groups,
                  call.inputs[1].As<float>().data(), call.inputs[2].As<float>().data(),
                  size.channels, norm_of(picture));
  }
  const auto normalize_row = [&](size_t row, size_t) {
    HWY_DYNAMIC_DISPATCH(NormalizeRow)
    (size, x, norm_of(row / size.height), row * size.width, out);
  };
  pool.ParallelFor(size.num_rows(), std::cref(normalize_row));
}

}  // namespace ingot::cpu
#endif  // HWY_ONCE
