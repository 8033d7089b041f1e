// What a Linear writes, from finished sums by its epilogue: the same bits on every x86 level.
#include <cstddef>

#include "devices/cpu/linear_call.h"
#include "devices/cpu/simd-inl.h"

// Read once per target of hwy/foreach_target.h, hence this toggle instead of #pragma once.
#if defined(INGOT_DEVICES_CPU_LINEAR_STORE_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef INGOT_DEVICES_CPU_LINEAR_STORE_INL_H_
#undef INGOT_DEVICES_CPU_LINEAR_STORE_INL_H_
#else
#define INGOT_DEVICES_CPU_LINEAR_STORE_INL_H_
#endif

HWY_BEFORE_NAMESPACE();
namespace ingot::cpu {
namespace HWY_NAMESPACE {

// out[row, feature + i] = epilogue(sums[i] + bias[feature + i]), i < n. `sums` is not part of the
// output; the residual may be: each of its elements is read before it is written.
inline void StoreRow(const LinearCall& call, size_t row, size_t feature, size_t n,
                     const float* HWY_RESTRICT sums) {
  const hn::ScalableTag<float> d;
  float* out = call.out + row * call.out_stride + feature;
  const auto store = [&](const auto& value) {
    size_t i = 0;
    for (; i + hn::Lanes(d) <= n; i += hn::Lanes(d)) {
      hn::StoreU(value([d, i](const float* from) { return hn::LoadU(d, from + i); }), d, out + i);
    }
    if (i == n) return;
    const auto mask = hn::FirstN(d, n - i);
    const auto load = [d, i, mask](const float* from) { return hn::MaskedLoad(mask, d, from + i); };
    hn::BlendedStore(value(load), mask, d, out + i);
  };
  const auto store_epilogue = [&](const auto& y) {
    if (call.epilogue == op::Epilogue::kNone) return store(y);
    const float* residual = call.residual.Row(row) + feature;
    if (call.epilogue == op::Epilogue::kAdd) {
      return store([&](const auto& load) { return hn::Add(load(residual), y(load)); });
    }
    const float* gate = call.gate.Row(row / call.rows_per_picture) + feature;
    store([&](const auto& load) { return hn::MulAdd(load(gate), y(load), load(residual)); });
  };
  if (call.bias == nullptr) return store_epilogue([&](const auto& load) { return load(sums); });
  const float* bias = call.bias + feature;
  store_epilogue([&](const auto& load) { return hn::Add(load(sums), load(bias)); });
}

}  // namespace HWY_NAMESPACE
}  // namespace ingot::cpu
HWY_AFTER_NAMESPACE();

#endif  // INGOT_DEVICES_CPU_LINEAR_STORE_INL_H_
