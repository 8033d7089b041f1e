// The products of attention in integers: a block of queries with a block of keys, and the weights
// of these with the values.
#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "devices/cpu/attention_int_layout.h"
#include "devices/cpu/attention_int_pack-inl.h"
#include "devices/cpu/simd-inl.h"
#include "devices/cpu/unroll-inl.h"

// Read once per target of hwy/foreach_target.h, hence this toggle instead of #pragma once.
#if defined(INGOT_DEVICES_CPU_ATTENTION_INT_PRODUCT_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef INGOT_DEVICES_CPU_ATTENTION_INT_PRODUCT_INL_H_
#undef INGOT_DEVICES_CPU_ATTENTION_INT_PRODUCT_INL_H_
#else
#define INGOT_DEVICES_CPU_ATTENTION_INT_PRODUCT_INL_H_
#endif

HWY_BEFORE_NAMESPACE();
namespace ingot::cpu {
namespace HWY_NAMESPACE {
namespace {

// sums[r, c] += over i < n of a[i * kStep + r * kRowStep] * b[i, c], products of dwords;
// b in rows of `b_stride` dwords. n is even.
template <class Kept, size_t kVectors, size_t kStep, size_t kRowStep>
HWY_INLINE void MultiplyTile(const int32_t* a, const int32_t* b, size_t b_stride, size_t n,
                             VI (&sums)[kTileRows * kVectors]) {
  for (size_t i = 0; i < n; i += 2) {
    Unroll<2>([&](auto u) INGOT_UNROLLED {
      // Keeps loads where they are: g++ would move them up and spill sums.
      asm volatile("" ::: "memory");
      VI columns[kVectors];
      Unroll<kVectors>(
          [&](auto c) INGOT_UNROLLED { columns[c] = hn::Load(kI, b + u * b_stride + c * kLanes); });
      Unroll<kTileRows>([&](auto r) INGOT_UNROLLED {
        const VI row = hn::Set(kI, a[u * kStep + r * kRowStep]);
        Unroll<kVectors>([&](auto c) INGOT_UNROLLED {
          Kept::AddProducts(sums[r * kVectors + c], row, columns[c]);
        });
      });
    });
    a += 2 * kStep;
    b += 2 * b_stride;
  }
}

// Scores of a tile of queries before their scale, and their lanes' maxima.
struct ScoreTile {
  const int32_t* queries;
  const int32_t* keys;
  size_t depth;
  const int32_t* starts;
  const float* scales;
  const float* shifts;
  float* scores;       // rows of kKeyGroup
  float* lane_maxima;  // rows of kLine
};

template <class Kept>
HWY_NOINLINE void ComputeScores(const ScoreTile& tile) {
  constexpr size_t kCount = kTileRows * kTileVectors;
  VI sums[kCount];
  Unroll<kCount>([&](auto i) INGOT_UNROLLED {
    sums[i] =
        Kept::kPerDword == 4 ? hn::Load(kI, tile.starts + i % kTileVectors * kLanes) : hn::Zero(kI);
  });
  MultiplyTile<Kept, kTileVectors, kTileRows, 1>(tile.queries, tile.keys, kKeyGroup, tile.depth,
                                                 sums);
  Unroll<kTileRows>([&](auto r) INGOT_UNROLLED {
    VF max = hn::Load(kF, tile.lane_maxima + r * kLine);
    Unroll<kTileVectors>([&](auto c) INGOT_UNROLLED {
      const VF score = hn::MulAdd(hn::ConvertTo(kF, sums[r * kTileVectors + c]),
                                  hn::Load(kF, tile.scales + c * kLanes),
                                  hn::Load(kF, tile.shifts + c * kLanes));
      hn::Store(score, kF, tile.scores + r * kKeyGroup + c * kLanes);
      max = hn::Max(max, score);
    });
    hn::Store(max, kF, tile.lane_maxima + r * kLine);
  });
}

// Scores of num_rows queries with all keys of a block.
template <class Kept>
void ComputeBlockScores(const HeadLayout& head, size_t block, size_t num_rows,
                        const IntScratch& scratch) {
  constexpr size_t kColumns = kTileVectors * kLanes;
  const size_t depth = head.dim / Kept::kPerDword;
  for (size_t i = 0; i < num_rows * kLine; i += kLanes) {
    hn::Store(hn::Set(kF, -kInfinity), kF, scratch.lane_maxima + i);
  }
  for (size_t group = 0; group < head.BlockSize(block); group += kKeyGroup) {
    const int32_t* keys = head.BlockKeys(block) + group * depth;
    const size_t key = block * kKeyBlock + group;
    for (size_t row = 0; row < num_rows; row += kTileRows) {
      for (size_t c = 0; c < kKeyGroup; c += kColumns) {
        ComputeScores<Kept>({.queries = scratch.queries + row * depth,
                             .keys = keys + c,
                             .depth = depth,
                             .starts = head.key_starts + key + c,
                             .scales = head.key_scales + key + c,
                             .shifts = head.key_shifts + key + c,
                             .scores = scratch.scores + group * kQueryBlock + row * kKeyGroup + c,
                             .lane_maxima = scratch.lane_maxima + row * kLine});
      }
    }
  }
}

// sums = sums * old_factor + output * new_factor, factors by row.
struct OutputTile {
  const int32_t* weights;
  const int32_t* values;
  size_t values_stride;
  size_t depth;
  const float* scales;
  const float* shifts;
  const float* old_factor;
  const float* new_factor;
  float* sums;
  size_t sums_stride;
};

template <class Kept, size_t kVectors>
HWY_NOINLINE void AddOutputs(const OutputTile& tile) {
  VI sums[kTileRows * kVectors];
  Unroll<kTileRows * kVectors>([&](auto i) INGOT_UNROLLED { sums[i] = hn::Zero(kI); });
  MultiplyTile<Kept, kVectors, 1, kKeyBlock / Kept::kPerDword>(
      tile.weights, tile.values, tile.values_stride, tile.depth, sums);
  Unroll<kTileRows>([&](auto r) INGOT_UNROLLED {
    const VF old_factor = hn::Set(kF, tile.old_factor[r]);
    const VF new_factor = hn::Set(kF, tile.new_factor[r]);
    Unroll<kVectors>([&](auto c) INGOT_UNROLLED {
      float* out = tile.sums + r * tile.sums_stride + c * kLanes;
      const VF output = hn::MulAdd(hn::ConvertTo(kF, sums[r * kVectors + c]),
                                   hn::Load(kF, tile.scales + c * kLanes),
                                   hn::Load(kF, tile.shifts + c * kLanes));
      hn::Store(hn::MulAdd(output, new_factor, hn::Mul(hn::Load(kF, out), old_factor)), kF, out);
    });
  });
}

// The outputs of num_rows queries from all keys of a block.
template <class Kept>
void AddBlockOutputs(const HeadLayout& head, size_t block, size_t num_rows,
                     const IntScratch& scratch) {
  const size_t depth = head.BlockSize(block) / Kept::kPerDword;
  for (size_t group = 0; group < head.dim; group += kChannelGroup) {
    const size_t width = std::min(kChannelGroup, head.dim - group);
    const int32_t* values = head.BlockValues(block) + group * depth;
    for (size_t row = 0; row < num_rows; row += kTileRows) {
      const auto run = [&]<size_t kVectors>(size_t c) {
        AddOutputs<Kept, kVectors>({.weights = scratch.weights + row * kKeyBlock / Kept::kPerDword,
                                    .values = values + c,
                                    .values_stride = width,
                                    .depth = depth,
                                    .scales = head.value_scales + block * head.dim + group + c,
                                    .shifts = head.value_shifts + block * head.dim + group + c,
                                    .old_factor = scratch.old_factor() + row,
                                    .new_factor = scratch.new_factor() + row,
                                    .sums = scratch.sums + row * head.dim + group + c,
                                    .sums_stride = head.dim});
      };
      for (size_t c = 0; c < width; c += kTileVectors * kLanes) {
        switch ((width - c) / kLanes) {
          case 1:
            run.template operator()<1>(c);
            break;
          case 2:
            run.template operator()<2>(c);
            break;
          case 3:
            run.template operator()<std::min<size_t>(3, kTileVectors)>(c);
            break;
          default:
            run.template operator()<kTileVectors>(c);
        }
      }
    }
  }
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace ingot::cpu
HWY_AFTER_NAMESPACE();

#endif  // INGOT_DEVICES_CPU_ATTENTION_INT_PRODUCT_INL_H_
