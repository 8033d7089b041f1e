#include "devices/cpu/position.h"

#include <algorithm>
#include <cmath>
#include <functional>

#include "devices/cpu/reference/reference.h"

// Compiles the code below once per SIMD target.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "devices/cpu/position.cc"
#include <hwy/foreach_target.h>  // IWYU pragma: keep

#include "devices/cpu/moments-inl.h"
#include "devices/cpu/simd-inl.h"

#ifndef INGOT_DEVICES_CPU_POSITION_ONCE_
#define INGOT_DEVICES_CPU_POSITION_ONCE_
namespace ingot::cpu {
namespace {

// The heads of one token, one after the other; out may be x.
struct TokenHeads {
  const float* x;
  size_t num_heads, head_dim;
  const float* weight;  // of the norm before the turn; null for none
  float eps;
  const float* table;  // (cos, sin) of each pair of a head
  float* out;
};

}  // namespace
}  // namespace ingot::cpu
#endif  // INGOT_DEVICES_CPU_POSITION_ONCE_

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

// f(vector at i, i, count) for the vectors of a head, turned.
template <class F>
HWY_INLINE void TurnHead(const float* x, const float* table, size_t n, float* out, const F& f) {
  const size_t lanes = hn::Lanes(kTag);
  size_t i = 0;
  for (; i + lanes <= n; i += lanes) {
    hn::StoreU(Turn(f(hn::LoadU(kTag, x + i), i, lanes), hn::LoadU(kTag, table + i)), kTag,
               out + i);
  }
  if (i == n) return;
  const V turned =
      Turn(f(LoadFirst(kTag, x + i, n - i), i, n - i), LoadFirst(kTag, table + i, n - i));
  StoreFirst(turned, kTag, out + i, n - i);
}

void TurnToken(const TokenHeads& token) {
  const size_t n = token.head_dim;
  for (size_t i = 0; i < token.num_heads * n; i += n) {
    const float* x = token.x + i;
    if (token.weight == nullptr) {
      TurnHead(x, token.table, n, token.out + i, [](V v, size_t, size_t) { return v; });
      continue;
    }
    // As RmsNorm does it, to the bit.
    const double squares = Sum(kTag, x, n, [](V s, V v) { return hn::MulAdd(v, v, s); });
    const V scale = hn::Set(
        kTag, static_cast<float>(1.0 / std::sqrt(squares / static_cast<double>(n) + token.eps)));
    TurnHead(x, token.table, n, token.out + i, [&](V v, size_t at, size_t count) {
      return hn::Mul(hn::Mul(v, scale), LoadFirst(kTag, token.weight + at, count));
    });
  }
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace ingot::cpu
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace ingot::cpu {

HWY_EXPORT(TurnToken);

namespace {

struct Norm {
  const float* weight = nullptr;
  float eps = 0.0f;
};

void TurnTokens(const OpCall& call, const Norm& norm, ThreadPool& pool) {
  constexpr size_t kTokensPerItem = 16;  // 16 * 3072 elements take 20 us
  const Shape& shape = call.output.shape;
  const size_t num_tokens = static_cast<size_t>(shape[0] * shape[1]);
  const size_t x_stride = static_cast<size_t>(call.inputs[0].RowStride(shape[2] * shape[3]));
  const size_t out_stride = static_cast<size_t>(call.output.RowStride(shape[2] * shape[3]));
  const float* x = reinterpret_cast<const float*>(call.inputs[0].data);
  const float* table = call.inputs.back().As<float>().data();
  float* out = reinterpret_cast<float*>(call.output.data);
  const auto body = [&](size_t item, size_t) {
    const size_t end = std::min((item + 1) * kTokensPerItem, num_tokens);
    for (size_t token = item * kTokensPerItem; token < end; ++token) {
      HWY_DYNAMIC_DISPATCH(TurnToken)
      ({.x = x + token * x_stride,
        .num_heads = static_cast<size_t>(shape[2]),
        .head_dim = static_cast<size_t>(shape[3]),
        .weight = norm.weight,
        .eps = norm.eps,
        .table = table + token * static_cast<size_t>(shape[3]),
        .out = out + token * out_stride});
    }
  };
  pool.ParallelFor((num_tokens + kTokensPerItem - 1) / kTokensPerItem, std::cref(body));
}

}  // namespace

void Run(const op::Rope&, const OpCall& call, ThreadPool& pool) { TurnTokens(call, {}, pool); }

void Run(const op::RmsNormRope& op, const OpCall& call, ThreadPool& pool) {
  TurnTokens(call, {.weight = call.inputs[1].As<float>().data(), .eps = op.eps}, pool);
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
