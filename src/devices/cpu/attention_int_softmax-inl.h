// The online softmax of attention in integers: what the scores of a block of queries with a block
// of keys weigh.
#include <cstddef>
#include <cstdint>

#include "devices/cpu/attention_int_layout.h"
#include "devices/cpu/attention_int_pack-inl.h"
#include "devices/cpu/simd-inl.h"
#include "devices/cpu/unroll-inl.h"
#include "graph/op.h"

// Read once per target of hwy/foreach_target.h, hence this toggle instead of #pragma once.
#if defined(INGOT_DEVICES_CPU_ATTENTION_INT_SOFTMAX_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef INGOT_DEVICES_CPU_ATTENTION_INT_SOFTMAX_INL_H_
#undef INGOT_DEVICES_CPU_ATTENTION_INT_SOFTMAX_INL_H_
#else
#define INGOT_DEVICES_CPU_ATTENTION_INT_SOFTMAX_INL_H_
#endif

HWY_BEFORE_NAMESPACE();
namespace ingot::cpu {
namespace HWY_NAMESPACE {
namespace {

// 2^x for |x| <= 1/2, from the highest power; the error is relative.
template <size_t kDegree>
constexpr float kExp2Terms[kDegree + 1] = {};
template <>
constexpr float kExp2Terms<2>[] = {0.2402265f, 0.7018f, 0.99991f};  // 2e-3
template <>
constexpr float kExp2Terms<3>[] = {5.5826318e-2f, 2.4015361e-1f, 6.9314718e-1f,
                                   0.9999253f};  // 1e-4
template <>
constexpr float kExp2Terms<5>[] = {1.33336498e-3f, 9.61793923e-3f, 5.55040873e-2f,
                                   2.40226495e-1f, 6.93147182e-1f, 1.0f};  // 3e-7

// kPeak * 2^x for x <= 0, to the error of the terms; below 2^-125 * kPeak it stays there.
template <size_t kDegree, int kPeak>
HWY_INLINE VF Exp2(VF x) {
  const VF magic = hn::Set(kF, 0x1.8p23f);  // leaves the nearest integer in the low bits
  x = hn::Max(x, hn::Set(kF, -126.0f));
  const VF rounded = hn::Add(x, magic);
  const VF fraction = hn::Sub(x, hn::Sub(rounded, magic));
  VF p = hn::Set(kF, kPeak * kExp2Terms<kDegree>[0]);
  Unroll<kDegree>([&](auto i) INGOT_UNROLLED {
    p = hn::MulAdd(p, fraction, hn::Set(kF, kPeak * kExp2Terms<kDegree>[i + 1]));
  });
  const VI exponent = hn::ShiftLeft<23>(hn::BitCast(kI, rounded));
  return hn::BitCast(kF, hn::Add(hn::BitCast(kI, p), exponent));
}

// scores * query_scale + bias, in units of log2.
void AddBias(const IntQueries& queries, const HeadLayout& head, size_t num_keys, size_t block,
             const IntScratch& scratch) {
  const size_t begin = block * kKeyBlock;
  for (size_t row = 0; row < queries.queries.count; ++row) {
    const float* bias = queries.bias + row * num_keys;
    const VF scale = hn::Set(kF, scratch.query_scales()[row]);
    VF max = hn::Set(kF, -kInfinity);
    for (size_t j = 0; j < head.BlockSize(block); j += kLanes) {
      float* at =
          scratch.scores + (j & ~(kKeyGroup - 1)) * kQueryBlock + row * kKeyGroup + j % kKeyGroup;
      const VF score = hn::MulAdd(LoadRow(bias, begin + j, num_keys), hn::Set(kF, kLog2E),
                                  hn::Mul(hn::Load(kF, at), scale));
      hn::Store(score, kF, at);
      max = hn::Max(max, score);
    }
    hn::Store(max, kF, scratch.lane_maxima + row * kLine);
  }
}

// The block's maxima, and the factors that join the block with those before it.
void UpdateMaxima(size_t num_rows, const float* scales, const IntScratch& scratch) {
  for (size_t row = 0; row < num_rows; ++row) {
    const VF max = hn::MaxOfLanes(kF, hn::Load(kF, scratch.lane_maxima + row * kLine));
    scratch.block_max()[row] = hn::GetLane(max);
  }
  for (size_t row = 0; row < num_rows; row += kLanes) {
    // Rounded up, and finite where all keys are hidden: no score may be above it.
    VF max = hn::Mul(hn::Load(kF, scratch.block_max() + row), hn::Load(kF, scales + row));
    max = hn::Max(hn::MulAdd(hn::Abs(max), hn::Set(kF, 0x1p-22f), max), hn::Set(kF, -1e30f));
    const VF old_max = hn::Load(kF, scratch.running_max() + row);
    const VF new_max = hn::Max(old_max, max);
    hn::Store(max, kF, scratch.block_max() + row);
    hn::Store(new_max, kF, scratch.running_max() + row);
    hn::Store(Exp2<5, 1>(hn::Sub(old_max, new_max)), kF, scratch.old_factor() + row);
    hn::Store(Exp2<5, 1>(hn::Sub(max, new_max)), kF, scratch.new_factor() + row);
  }
}

template <int kCenter>
HWY_INLINE VI Centered(VI pairs) {
  if constexpr (kCenter == 0) return pairs;
  const hn::Repartition<int16_t, decltype(kI)> words;
  return hn::BitCast(kI, hn::Sub(hn::BitCast(words, pairs), hn::Set(words, kCenter)));
}

// P - p_center of a row; returns the sum of P.
template <class Kept, op::Compute kCompute>
HWY_INLINE int32_t ComputeWeights(const float* scores, size_t num_keys, float scale, float max,
                                  int32_t* weights) {
  const VF factor = hn::Set(kF, scale), shift = hn::Set(kF, max);
  constexpr Levels kLevels = LevelsOf(kCompute, 0);
  constexpr size_t kDegree = kCompute == op::Compute::kI8 ? 2 : 3;
  const VI ones = hn::Set(kI, Kept::kPerDword == 4 ? 0x01010101 : 0x00010001);
  VI sum = hn::Zero(kI);
  for (size_t group = 0; group < num_keys; group += kKeyGroup) {
    for (size_t j = 0; j < kKeyGroup; j += kLine * Kept::kPerDword) {
      for (size_t lane = 0; lane < kLine; lane += kLanes) {
        VI x[Kept::kPerDword];
        Unroll<Kept::kPerDword>([&](auto i) INGOT_UNROLLED {
          const VF score = hn::Load(kF, scores + j + i * kLine + lane);
          x[i] = ToInt(Exp2<kDegree, kLevels.p>(hn::MulSub(score, factor, shift)));
        });
        const VI dwords = Combine<Kept>(x);
        Kept::AddProducts(sum, dwords, ones);
        hn::Store(Centered<kLevels.p_center>(dwords), kI, weights + j / Kept::kPerDword + lane);
      }
    }
    scores += kQueryBlock * kKeyGroup;
    weights += kKeyGroup / Kept::kPerDword;
  }
  return hn::GetLane(hn::SumOfLanes(kI, sum));
}

template <class Kept, op::Compute kCompute>
HWY_NOINLINE void ComputeBlockWeights(size_t num_keys, size_t num_rows, const float* scales,
                                      const IntScratch& scratch) {
  for (size_t row = 0; row < num_rows; ++row) {
    scratch.block_sum()[row] = static_cast<float>(ComputeWeights<Kept, kCompute>(
        scratch.scores + row * kKeyGroup, num_keys, scales[row], scratch.block_max()[row],
        scratch.weights + row * kKeyBlock / Kept::kPerDword));
  }
  for (size_t row = 0; row < num_rows; row += kLanes) {
    const VF old_sum = hn::Mul(hn::Load(kF, scratch.running_sum() + row),
                               hn::Load(kF, scratch.old_factor() + row));
    hn::Store(hn::MulAdd(hn::Load(kF, scratch.block_sum() + row),
                         hn::Load(kF, scratch.new_factor() + row), old_sum),
              kF, scratch.running_sum() + row);
  }
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace ingot::cpu
HWY_AFTER_NAMESPACE();

#endif  // INGOT_DEVICES_CPU_ATTENTION_INT_SOFTMAX_INL_H_
