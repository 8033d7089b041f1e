// The products of a Linear in 8 bits by the tiles of AMX: the sums of linear_int8_product-inl.h,
// bit for bit, from the same bytes of x and the same panels of weights.
//
// Four tiles hold the dot products of 32 rows with 32 features over a block of K; two tiles of x
// and two of weights take turns of 64 k. Rows of a panel are 4 k of 64 features, as a tile wants
// them.
#include <cstddef>
#include <cstdint>

#include "devices/cpu/amx.h"
#include "devices/cpu/linear_int8_job.h"
#include "devices/cpu/simd-inl.h"
#include "devices/cpu/unroll-inl.h"

// Read once per target of hwy/foreach_target.h, hence this toggle instead of #pragma once.
#if defined(INGOT_DEVICES_CPU_LINEAR_INT8_TILES_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef INGOT_DEVICES_CPU_LINEAR_INT8_TILES_INL_H_
#undef INGOT_DEVICES_CPU_LINEAR_INT8_TILES_INL_H_
#else
#define INGOT_DEVICES_CPU_LINEAR_INT8_TILES_INL_H_
#endif

HWY_BEFORE_NAMESPACE();
namespace ingot::cpu {
namespace HWY_NAMESPACE {
namespace {

// Rows and features of four tiles.
constexpr size_t kSquare = 2 * kAmxRows;

// sums = (kFirst ? 0 : sums) + scaled products of num_rows rows, a multiple of kSquare, with a
// panel of bytes. Amx is AmxTiles, or what a test has in its place.
template <class Amx, bool kFirst>
HWY_NOINLINE void MultiplyTiles(const Sweep& sweep, size_t num_rows) {
  const hn::CappedTag<float, kAmxRows> d;
  const hn::RebindToSigned<decltype(d)> di;
  constexpr size_t kPanelRowBytes = kPanelFeatures * 4;
  alignas(64) int32_t dots[2][kSquare][kAmxRows];  // [half of the features][row][feature]
  for (size_t n = 0; n < kPanelFeatures; n += kSquare) {
    const int32_t* starts = sweep.block.starts + n;
    for (size_t row = 0; row < num_rows; row += kSquare) {
      const std::byte* x = sweep.x + row * sweep.x_stride;
      const std::byte* weights = sweep.block.values + n * 4;
      Amx::template Load<0>(starts, 0);
      Amx::template Load<1>(starts + kAmxRows, 0);
      Amx::template Load<2>(starts, 0);
      Amx::template Load<3>(starts + kAmxRows, 0);
      for (size_t k = 0; k < sweep.num_k; k += kAmxRowBytes) {
        Amx::template Load<4>(x, sweep.x_stride);
        Amx::template Load<6>(weights, kPanelRowBytes);
        Amx::template MultiplyAdd<0, 4, 6>();
        Amx::template Load<7>(weights + kAmxRowBytes, kPanelRowBytes);
        Amx::template MultiplyAdd<1, 4, 7>();
        Amx::template Load<5>(x + kAmxRows * sweep.x_stride, sweep.x_stride);
        Amx::template MultiplyAdd<2, 5, 6>();
        Amx::template MultiplyAdd<3, 5, 7>();
        x += kAmxRowBytes;
        weights += kAmxRows * kPanelRowBytes;
      }
      Amx::template Store<0>(dots[0][0], kAmxRowBytes);
      Amx::template Store<1>(dots[1][0], kAmxRowBytes);
      Amx::template Store<2>(dots[0][kAmxRows], kAmxRowBytes);
      Amx::template Store<3>(dots[1][kAmxRows], kAmxRowBytes);
      for (size_t r = 0; r < kSquare; ++r) {
        const auto row_scale = hn::Set(d, sweep.row_scales[row + r]);
        float* sums = sweep.sums + (row + r) * kPanelFeatures + n;
        Unroll<kSquare / hn::MaxLanes(d)>([&](auto v) INGOT_UNROLLED {
          constexpr size_t kFeature = v * hn::MaxLanes(d);
          const auto dot = hn::Load(di, &dots[kFeature / kAmxRows][r][kFeature % kAmxRows]);
          const auto product =
              hn::MulSub(hn::BitCast(d, dot), hn::Load(d, sweep.block.scales + n + kFeature),
                         hn::Load(d, sweep.block.offsets + n + kFeature));
          hn::Store(kFirst ? hn::Mul(product, row_scale)
                           : hn::MulAdd(product, row_scale, hn::Load(d, sums + kFeature)),
                    d, sums + kFeature);
        });
      }
      if (n == 0) sweep.PrefetchOut(row, kSquare);
    }
  }
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace ingot::cpu
HWY_AFTER_NAMESPACE();

#endif  // INGOT_DEVICES_CPU_LINEAR_INT8_TILES_INL_H_
