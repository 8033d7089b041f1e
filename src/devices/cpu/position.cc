#include "devices/cpu/position.h"

#include <algorithm>
#include <functional>

#include "devices/cpu/reference/reference.h"

// Compiles the code below once per SIMD target.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "devices/cpu/position.cc"
#include <hwy/foreach_target.h>  // IWYU pragma: keep

#include "devices/cpu/simd-inl.h"

HWY_BEFORE_NAMESPACE();
namespace ingot::cpu {
namespace HWY_NAMESPACE {
namespace {

constexpr hn::ScalableTag<float> kTag;
using V = hn::Vec<decltype(kTag)>;

// Lanes 2i and 2i+1 of x turned by (cos, sin) in lanes 2i and 2i+1 of the table:
// (x0 cos - x1 sin, x1 cos + x0 sin).
HWY_INLINE V Turn(V x, V table) {
  const V cos = hn::DupEven(table), sin = hn::DupOdd(table);
  return hn::MulAdd(x, cos, hn::Mul(hn::Shuffle2301(x), hn::OddEven(sin, hn::Neg(sin))));
}

void TurnSpan(const float* HWY_RESTRICT x, const float* HWY_RESTRICT table, size_t n,
              float* HWY_RESTRICT out) {
  const size_t lanes = hn::Lanes(kTag);
  size_t i = 0;
  for (; i + lanes <= n; i += lanes) {
    hn::StoreU(Turn(hn::LoadU(kTag, x + i), hn::LoadU(kTag, table + i)), kTag, out + i);
  }
  if (i == n) return;
  const V turned = Turn(LoadFirst(kTag, x + i, n - i), LoadFirst(kTag, table + i, n - i));
  StoreFirst(turned, kTag, out + i, n - i);
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace ingot::cpu
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace ingot::cpu {

HWY_EXPORT(TurnSpan);

void Run(const op::Rope&, const OpCall& call, ThreadPool& pool) {
  const Shape& shape = call.output.shape;
  const size_t heads = static_cast<size_t>(shape[2]), head_dim = static_cast<size_t>(shape[3]);
  const auto body = [&](size_t token, size_t) {
    for (size_t head = token * heads; head < (token + 1) * heads; ++head) {
      HWY_DYNAMIC_DISPATCH(TurnSpan)
      (call.inputs[0].As<float>().data() + head * head_dim,
       call.inputs[1].As<float>().data() + token * head_dim, head_dim,
       call.output.As<float>().data() + head * head_dim);
    }
  };
  pool.ParallelFor(static_cast<size_t>(shape[0] * shape[1]), std::cref(body));
}

void Run(const op::RelativePositionBias& op, const OpCall& call, ThreadPool& pool) {
  const Shape& shape = call.inputs[0].shape;
  const size_t heads = static_cast<size_t>(shape[1]);
  const size_t length = static_cast<size_t>(op.length);
  const auto body = [&](size_t head, size_t) {
    const auto bias_at = [&](int64_t relative_position) {
      const int bucket = reference::RelativePositionBucket(
          relative_position, static_cast<int>(shape[0]), op.max_distance);
      return call.inputs[0].As<float>()[static_cast<size_t>(bucket) * heads + head];
    };
    float* out = call.output.As<float>().data() + head * length * length;
    for (int64_t j = 0; j < op.length; ++j) out[j] = bias_at(j);
    for (int64_t i = 1; i < op.length; ++i, out += length) {
      out[length] = bias_at(-i);
      std::copy_n(out, length - 1, out + length + 1);
    }
  };
  pool.ParallelFor(heads, std::cref(body));
}

}  // namespace ingot::cpu
#endif  // HWY_ONCE
