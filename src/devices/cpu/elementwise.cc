#include "devices/cpu/elementwise.h"

#include <algorithm>
#include <array>
#include <functional>
#include <utility>

// Compiles the code below once per SIMD target.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "devices/cpu/elementwise.cc"
#include <hwy/foreach_target.h>  // IWYU pragma: keep

#include "devices/cpu/simd-inl.h"

HWY_BEFORE_NAMESPACE();
namespace ingot::cpu {
namespace HWY_NAMESPACE {
namespace {

constexpr hn::ScalableTag<float> kTag;
using V = hn::Vec<decltype(kTag)>;

// out = f(x) by vectors; lanes beyond n are computed but not stored.
template <class F>
void Transform(const float* HWY_RESTRICT x, size_t n, float* HWY_RESTRICT out, const F& f) {
  const size_t lanes = hn::Lanes(kTag);
  size_t i = 0;
  for (; i + lanes <= n; i += lanes) hn::StoreU(f(hn::LoadU(kTag, x + i)), kTag, out + i);
  if (i < n) StoreFirst(f(LoadFirst(kTag, x + i, n - i)), kTag, out + i, n - i);
}

template <class F>
void Transform(const float* HWY_RESTRICT x, const float* HWY_RESTRICT y, size_t n,
               float* HWY_RESTRICT out, const F& f) {
  const size_t lanes = hn::Lanes(kTag);
  size_t i = 0;
  for (; i + lanes <= n; i += lanes) {
    hn::StoreU(f(hn::LoadU(kTag, x + i), hn::LoadU(kTag, y + i)), kTag, out + i);
  }
  if (i == n) return;
  StoreFirst(f(LoadFirst(kTag, x + i, n - i), LoadFirst(kTag, y + i, n - i)), kTag, out + i, n - i);
}

template <class F>
void Combine(const float* a, const float* b, bool repeat_b, size_t n, float* out, const F& f) {
  if (!repeat_b) return Transform(a, b, n, out, f);
  const V element = hn::Set(kTag, *b);
  Transform(a, n, out, [&](V x) { return f(x, element); });
}

void BinarySpan(op::BinaryKind kind, const float* a, const float* b, bool repeat_b, size_t n,
                float* out) {
  switch (kind) {
    case op::BinaryKind::kAdd:
      return Combine(a, b, repeat_b, n, out, [](V x, V y) { return hn::Add(x, y); });
    case op::BinaryKind::kMul:
      return Combine(a, b, repeat_b, n, out, [](V x, V y) { return hn::Mul(x, y); });
  }
}

void UnarySpan(op::UnaryKind kind, const float* x, size_t n, float* out) {
  switch (kind) {
    case op::UnaryKind::kSilu:
      return Transform(x, n, out, [](V v) { return TimesSigmoid(kTag, v, hn::Neg(v)); });
    case op::UnaryKind::kGeluTanh:
      return Transform(x, n, out, [](V v) { return GeluTanh(kTag, v); });
    case op::UnaryKind::kQuickGelu:
      return Transform(
          x, n, out, [](V v) { return TimesSigmoid(kTag, v, hn::Mul(v, hn::Set(kTag, -1.702f))); });
  }
}

void AffineSpan(const op::Affine& op, const float* x, size_t n, float* out) {
  const V scale = hn::Set(kTag, op.scale), shift = hn::Set(kTag, op.shift);
  Transform(x, n, out, [&](V v) { return hn::MulAdd(v, scale, shift); });
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace ingot::cpu
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace ingot::cpu {
namespace {

// 64 KiB: some microseconds of work, against one for taking an item.
constexpr size_t kGrain = 16384;

size_t NumGrains(size_t num_elements) { return (num_elements + kGrain - 1) / kGrain; }

struct Range {
  size_t begin, count;
};

Range Grain(size_t item, size_t num_elements) {
  return {item * kGrain, std::min(kGrain, num_elements - item * kGrain)};
}

// The axes of a broadcast from the innermost, neighbours of one kind merged.
// A step is the distance of neighbours along the axis, 0 where one is repeated.
struct Axes {
  struct Axis {
    size_t dim = 1, a_step = 1, b_step = 1;
  };
  Axes(const Shape& a, const Shape& b, const Shape& out);

  // Offsets in a and b of `row`, a run of inner().dim elements of the output.
  std::pair<size_t, size_t> Offsets(size_t row) const {
    std::pair<size_t, size_t> offsets = {0, 0};
    for (int i = 1; i < rank; ++i) {
      const size_t index = row % axes[static_cast<size_t>(i)].dim;
      row /= axes[static_cast<size_t>(i)].dim;
      offsets.first += index * axes[static_cast<size_t>(i)].a_step;
      offsets.second += index * axes[static_cast<size_t>(i)].b_step;
    }
    return offsets;
  }
  const Axis& inner() const { return axes[0]; }

  std::array<Axis, Shape::kMaxRank> axes;
  int rank = 0;
};

Axes::Axes(const Shape& a, const Shape& b, const Shape& out) {
  size_t a_elements = 1, b_elements = 1;
  for (int i = out.rank() - 1; i >= 0; --i) {
    if (out[i] == 1) continue;
    const size_t dim = static_cast<size_t>(out[i]);
    const Axis axis = {dim, a[i] == 1 ? 0 : a_elements, b[i] == 1 ? 0 : b_elements};
    a_elements *= static_cast<size_t>(a[i]);
    b_elements *= static_cast<size_t>(b[i]);
    Axis* last = rank > 0 ? &axes[static_cast<size_t>(rank - 1)] : nullptr;
    if (last != nullptr && (last->a_step == 0) == (axis.a_step == 0) &&
        (last->b_step == 0) == (axis.b_step == 0)) {
      last->dim *= dim;
    } else {
      axes[static_cast<size_t>(rank++)] = axis;
    }
  }
}

}  // namespace

HWY_EXPORT(BinarySpan);
HWY_EXPORT(UnarySpan);
HWY_EXPORT(AffineSpan);

void Run(const op::Binary& op, const OpCall& call, ThreadPool& pool) {
  ConstTensorView a = call.inputs[0], b = call.inputs[1];
  // Both kinds commute: if one is repeated along the innermost axis, it is b.
  if (Axes(a.shape, b.shape, call.output.shape).inner().a_step == 0) std::swap(a, b);
  const Axes axes(a.shape, b.shape, call.output.shape);
  const auto body = [&](size_t item, size_t) {
    const auto out = call.output.As<float>();
    const auto [begin, count] = Grain(item, out.size());
    for (size_t i = begin; i < begin + count;) {
      const size_t column = i % axes.inner().dim;
      const size_t n = std::min(axes.inner().dim - column, begin + count - i);
      const auto [a_row, b_row] = axes.Offsets(i / axes.inner().dim);
      const bool repeat_b = axes.inner().b_step == 0;
      HWY_DYNAMIC_DISPATCH(BinarySpan)
      (op.kind, a.As<float>().data() + a_row + column,
       b.As<float>().data() + b_row + (repeat_b ? 0 : column), repeat_b, n, out.data() + i);
      i += n;
    }
  };
  pool.ParallelFor(NumGrains(call.output.As<float>().size()), std::cref(body));
}

void Run(const op::Unary& op, const OpCall& call, ThreadPool& pool) {
  const auto out = call.output.As<float>();
  const auto body = [&](size_t item, size_t) {
    const auto [begin, count] = Grain(item, out.size());
    HWY_DYNAMIC_DISPATCH(UnarySpan)
    (op.kind, call.inputs[0].As<float>().data() + begin, count, out.data() + begin);
  };
  pool.ParallelFor(NumGrains(out.size()), std::cref(body));
}

void Run(const op::Affine& op, const OpCall& call, ThreadPool& pool) {
  const auto out = call.output.As<float>();
  const auto body = [&](size_t item, size_t) {
    const auto [begin, count] = Grain(item, out.size());
    HWY_DYNAMIC_DISPATCH(AffineSpan)
    (op, call.inputs[0].As<float>().data() + begin, count, out.data() + begin);
  };
  pool.ParallelFor(NumGrains(out.size()), std::cref(body));
}

}  // namespace ingot::cpu
#endif  // HWY_ONCE
