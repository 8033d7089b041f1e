#include "devices/cpu/attention_int.h"

#include <algorithm>

#include "devices/cpu/attention_int_layout.h"

// Compiles the code below once per SIMD target.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "devices/cpu/attention_int.cc"
#include <hwy/foreach_target.h>  // IWYU pragma: keep

#include "devices/cpu/attention_int_pack-inl.h"
#include "devices/cpu/attention_int_product-inl.h"
#include "devices/cpu/attention_int_softmax-inl.h"
#include "devices/cpu/dot_products-inl.h"

HWY_BEFORE_NAMESPACE();
namespace ingot::cpu {
namespace HWY_NAMESPACE {
namespace {

void StoreOutputs(const IntQueries& block, const HeadLayout& head, size_t head_dim,
                  const IntScratch& scratch) {
  float taint = 0.0f;
  for (size_t i = 0; i < head.num_blocks; ++i) taint += head.taints[i];
  for (size_t row = 0; row < block.queries.count; ++row) {
    // NaN where a scale is NaN or a score went to infinity.
    const float finite = 0.0f * (scratch.query_scales()[row] + scratch.running_max()[row]) + taint;
    const VF factor = hn::Set(kF, 1.0f / scratch.running_sum()[row] + finite);
    const float* sums = scratch.sums + row * head.dim;
    float* out = block.out + row * block.out_stride;
    for (size_t c = 0; row + kRowsAhead < block.queries.count && c < head_dim; c += kLine) {
      __builtin_prefetch(out + kRowsAhead * block.out_stride + c, 1);
    }
    size_t c = 0;
    for (; c + kLanes <= head_dim; c += kLanes) {
      hn::StoreU(hn::Mul(hn::Load(kF, sums + c), factor), kF, out + c);
    }
    if (c < head_dim) {
      StoreFirst(hn::Mul(hn::Load(kF, sums + c), factor), kF, out + c, head_dim - c);
    }
  }
}

template <class Kept, op::Compute kCompute>
void Attend(const IntQueries& block, const PackedHead& packed, std::byte* memory) {
  const HeadLayout head(packed, Kept::kPerDword);
  const IntScratch scratch(memory, packed.head_dim);
  const size_t num_rows = hwy::RoundUpTo(block.queries.count, kTileRows);
  PackQueries<Kept>(block, packed.head_dim, head.dim, LevelsOf(kCompute, packed.head_dim).qk,
                    scratch);
  std::fill_n(scratch.sums, num_rows * head.dim, 0.0f);
  std::fill_n(scratch.running_max(), kQueryBlock, -1e30f);
  std::fill_n(scratch.running_sum(), kQueryBlock, 0.0f);
  alignas(64) float ones[kQueryBlock];
  std::fill_n(ones, kQueryBlock, 1.0f);
  const float* scales = block.bias == nullptr ? scratch.query_scales() : ones;
  for (size_t i = 0; i < head.num_blocks; ++i) {
    ComputeBlockScores<Kept>(head, i, num_rows, scratch);
    if (block.bias != nullptr) AddBias(block, head, packed.num_keys, i, scratch);
    UpdateMaxima(num_rows, scales, scratch);
    ComputeBlockWeights<Kept, kCompute>(head.BlockSize(i), num_rows, scales, scratch);
    AddBlockOutputs<Kept>(head, i, num_rows, scratch);
  }
  StoreOutputs(block, head, packed.head_dim, scratch);
}

template <class Kept>
void Pack(op::Compute compute, const PackedHead& head, const HeadRows& keys, const HeadRows& values,
          size_t block, std::byte* scratch) {
  const HeadLayout layout(head, Kept::kPerDword);
  const Levels levels = LevelsOf(compute, head.head_dim);
  PackKeys<Kept>(layout, keys, head.head_dim, levels.qk, block, scratch);
  PackValues<Kept>(layout, values, head.head_dim, levels, block, scratch);
}

void PackBlock(op::Compute compute, const PackedHead& head, const HeadRows& keys,
               const HeadRows& values, size_t block, std::byte* scratch) {
  if (compute != op::Compute::kI8) {
    return Pack<Words>(compute, head, keys, values, block, scratch);
  }
  WithKept8([&]<class Kept>(Kept) { Pack<Kept>(compute, head, keys, values, block, scratch); });
}

void AttendBlock(op::Compute compute, const IntQueries& block, const PackedHead& head,
                 std::byte* scratch) {
  if (compute != op::Compute::kI8) {
    return Attend<Words, op::Compute::kI16>(block, head, scratch);
  }
  WithKept8([&]<class Kept>(Kept) { Attend<Kept, op::Compute::kI8>(block, head, scratch); });
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace ingot::cpu
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace ingot::cpu {

HWY_EXPORT(PackBlock);
HWY_EXPORT(AttendBlock);

size_t PackedHead::NumBytes(size_t num_keys, size_t head_dim) {
  const size_t dim = hwy::RoundUpTo(head_dim, kLine), keys = hwy::RoundUpTo(num_keys, kKeyGroup);
  const size_t blocks = hwy::DivCeil(num_keys, kKeyBlock);
  return hwy::RoundUpTo(keys * (4 * dim + 12) + blocks * (8 * dim + 4), 64);
}

size_t IntScratchBytes(size_t head_dim) {
  const size_t dim = hwy::RoundUpTo(head_dim, kLine);
  return kQueryBlock * (6 * kKeyBlock + 6 * dim + sizeof(float) * (kLine + IntScratch::kRowArrays));
}

void PackKeyBlock(op::Compute compute, const PackedHead& head, const HeadRows& keys,
                  const HeadRows& values, size_t block, std::byte* scratch) {
  HWY_DYNAMIC_DISPATCH(PackBlock)(compute, head, keys, values, block, scratch);
}

void AttendInt(op::Compute compute, const IntQueries& block, const PackedHead& head,
               std::byte* scratch) {
  HWY_DYNAMIC_DISPATCH(AttendBlock)(compute, block, head, scratch);
}

}  // namespace ingot::cpu
#endif  // HWY_ONCE
