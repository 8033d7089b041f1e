#include "devices/cpu/norm.h"

#include <algorithm>
#include <cmath>
#include <functional>

// Compiles the code below once per SIMD target.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "devices/cpu/norm.cc"
#include <hwy/foreach_target.h>  // IWYU pragma: keep

#include "devices/cpu/moments-inl.h"
#include "devices/cpu/simd-inl.h"

#ifndef INGOT_DEVICES_CPU_NORM_ONCE_
#define INGOT_DEVICES_CPU_NORM_ONCE_
namespace ingot::cpu {
namespace {

// A block of rows of `width` elements; weight and bias may be null.
struct Rows {
  const float* x;
  size_t num_rows, width;
  const float* weight;
  const float* bias;
  float eps;
  float* out;
};

// (x - mean) * scale + shift
struct Scaling {
  float mean, scale, shift;
};

float InverseRoot(double x) { return static_cast<float>(1.0 / std::sqrt(x)); }

}  // namespace
}  // namespace ingot::cpu
#endif  // INGOT_DEVICES_CPU_NORM_ONCE_

HWY_BEFORE_NAMESPACE();
namespace ingot::cpu {
namespace HWY_NAMESPACE {
namespace {

constexpr hn::ScalableTag<float> kTag;
using V = hn::Vec<decltype(kTag)>;

// f(vector at i, i, count) for the vectors of [0, n), stored to out.
template <class F>
HWY_INLINE void Transform(const float* HWY_RESTRICT x, size_t n, float* HWY_RESTRICT out,
                          const F& f) {
  const size_t lanes = hn::Lanes(kTag);
  size_t i = 0;
  for (; i + lanes <= n; i += lanes) hn::StoreU(f(hn::LoadU(kTag, x + i), i, lanes), kTag, out + i);
  if (i < n) StoreFirst(f(LoadFirst(kTag, x + i, n - i), i, n - i), kTag, out + i, n - i);
}

void Scale(const float* x, size_t n, const Scaling& scaling, float* out) {
  const V mean = hn::Set(kTag, scaling.mean);
  const V scale = hn::Set(kTag, scaling.scale), shift = hn::Set(kTag, scaling.shift);
  Transform(x, n, out,
            [&](V v, size_t, size_t) { return hn::MulAdd(hn::Sub(v, mean), scale, shift); });
}

void LayerNormRow(const float* x, const Rows& rows, float* out) {
  const Moments moments = TakeMoments(x, rows.width);
  const float inv_std =
      InverseRoot(moments.square_deviations / static_cast<double>(rows.width) + rows.eps);
  if (rows.weight == nullptr) return Scale(x, rows.width, {moments.mean, inv_std, 0.0f}, out);
  const V mean = hn::Set(kTag, moments.mean), scale = hn::Set(kTag, inv_std);
  Transform(x, rows.width, out, [&](V v, size_t i, size_t count) {
    const V normal = hn::Mul(hn::Sub(v, mean), scale);
    return hn::MulAdd(normal, LoadFirst(kTag, rows.weight + i, count),
                      LoadFirst(kTag, rows.bias + i, count));
  });
}

void RmsNormRow(const float* x, const Rows& rows, float* out) {
  const float sum = Sum(kTag, x, rows.width, [](V s, V v) { return hn::MulAdd(v, v, s); });
  const V scale = hn::Set(kTag, InverseRoot(sum / static_cast<double>(rows.width) + rows.eps));
  Transform(x, rows.width, out, [&](V v, size_t i, size_t count) {
    return hn::Mul(hn::Mul(v, scale), LoadFirst(kTag, rows.weight + i, count));
  });
}

void LayerNormRows(const Rows& rows) {
  for (size_t i = 0; i < rows.num_rows * rows.width; i += rows.width) {
    LayerNormRow(rows.x + i, rows, rows.out + i);
  }
}

void RmsNormRows(const Rows& rows) {
  for (size_t i = 0; i < rows.num_rows * rows.width; i += rows.width) {
    RmsNormRow(rows.x + i, rows, rows.out + i);
  }
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace ingot::cpu
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace ingot::cpu {
namespace {

constexpr size_t kGrain = 16384;  // elements of one item; also the grid of group sums

size_t CeilDivide(size_t a, size_t b) { return (a + b - 1) / b; }

// Runs `kernel` on blocks of rows of the last dimension.
template <class Kernel>
void RunRows(const OpCall& call, float eps, ThreadPool& pool, const Kernel& kernel) {
  const size_t width = static_cast<size_t>(call.output.shape.back());
  const size_t num_rows = call.output.As<float>().size() / width;
  const size_t rows_per_item = std::max<size_t>(kGrain / width, 1);
  const auto body = [&](size_t item, size_t) {
    const size_t first = item * rows_per_item;
    kernel(Rows{
        .x = call.inputs[0].As<float>().data() + first * width,
        .num_rows = std::min(rows_per_item, num_rows - first),
        .width = width,
        .weight = call.inputs.size() > 1 ? call.inputs[1].As<float>().data() : nullptr,
        .bias = call.inputs.size() > 2 ? call.inputs[2].As<float>().data() : nullptr,
        .eps = eps,
        .out = call.output.As<float>().data() + first * width,
    });
  };
  pool.ParallelFor(CeilDivide(num_rows, rows_per_item), std::cref(body));
}
}  // namespace

HWY_EXPORT(LayerNormRows);
HWY_EXPORT(RmsNormRows);

void Run(const op::LayerNorm& op, const OpCall& call, ThreadPool& pool) {
  RunRows(call, op.eps, pool, [](const Rows& rows) { HWY_DYNAMIC_DISPATCH(LayerNormRows)(rows); });
}

void Run(const op::RmsNorm& op, const OpCall& call, ThreadPool& pool) {
  RunRows(call, op.eps, pool, [](const Rows& rows) { HWY_DYNAMIC_DISPATCH(RmsNormRows)(rows); });
}

}  // namespace ingot::cpu
#endif  // HWY_ONCE
