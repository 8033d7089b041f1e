// The products of a Linear in 8 bits: bytes of x times a panel of weights, a block of K at a time.
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "devices/cpu/linear_int8_job.h"
#include "devices/cpu/linear_int8_panel-inl.h"
#include "devices/cpu/linear_int8_tiles-inl.h"

// Read once per target of hwy/foreach_target.h, hence this toggle instead of #pragma once.
#if defined(INGOT_DEVICES_CPU_LINEAR_INT8_PRODUCT_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef INGOT_DEVICES_CPU_LINEAR_INT8_PRODUCT_INL_H_
#undef INGOT_DEVICES_CPU_LINEAR_INT8_PRODUCT_INL_H_
#else
#define INGOT_DEVICES_CPU_LINEAR_INT8_PRODUCT_INL_H_
#endif

HWY_BEFORE_NAMESPACE();
namespace ingot::cpu {
namespace HWY_NAMESPACE {
namespace {

// sums of num_tiles * kRows rows = (first block ? 0 : sums) + scaled products.
template <class Kept, size_t kRows, bool kFirst>
HWY_NOINLINE void MultiplyRows(const Sweep& sweep, size_t num_tiles) {
  const DF d;
  const DI32 di;
  const std::byte* rows = sweep.x;
  const size_t stride = sweep.x_stride;
  const float* row_scales = sweep.row_scales;
  float* out = sweep.sums;
  for (size_t tile = 0; tile < num_tiles; ++tile) {
    hn::Vec<DI32> sums[kRows * Tile<Kept>::kVectors];
    Unroll<kRows * Tile<Kept>::kVectors>([&](auto i) INGOT_UNROLLED {
      sums[i] = kTakesBytes<Kept>
                    ? hn::Load(di, sweep.block.starts + i % Tile<Kept>::kVectors * kLanes)
                    : hn::Zero(di);
    });
    const std::byte* x = rows;
    const std::byte* x_ahead = rows + 2 * kRows * stride;
    const auto* w = reinterpret_cast<const int32_t*>(sweep.block.values);
    for (size_t k = 0; k < sweep.num_k; k += Tile<Kept>::kUnroll * Kept::kPerDword) {
      __builtin_prefetch(x_ahead);
      x_ahead += 32 * Tile<Kept>::kUnroll;
      Unroll<Tile<Kept>::kUnroll>([&](auto u) INGOT_UNROLLED {
        asm volatile("" ::: "memory");  // keeps g++ from loading the next weights early: it spills
        hn::Vec<DI32> weights[Tile<Kept>::kVectors];
        Unroll<Tile<Kept>::kVectors>([&](auto v) INGOT_UNROLLED {
          weights[v] = hn::Load(di, w + u * kTileFeatures<Kept> + v * kLanes);
        });
        Unroll<kRows>([&](auto r) INGOT_UNROLLED {
          int32_t bits;
          std::memcpy(&bits, x + r * stride + 4 * u, sizeof bits);
          const auto group = hn::Set(di, bits);
          Unroll<Tile<Kept>::kVectors>([&](auto v) INGOT_UNROLLED {
            Kept::AddProducts(sums[r * Tile<Kept>::kVectors + v], group, weights[v]);
          });
        });
      });
      x += 4 * Tile<Kept>::kUnroll;
      w += Tile<Kept>::kUnroll * kTileFeatures<Kept>;
    }
    Unroll<kRows>([&](auto r) INGOT_UNROLLED {
      const auto row_scale = hn::Set(d, row_scales[r]);
      Unroll<Tile<Kept>::kVectors>([&](auto v) INGOT_UNROLLED {
        float* to = out + r * kPanelFeatures + v * kLanes;
        const auto scales = hn::Load(d, sweep.block.scales + v * kLanes);
        const auto sum = sums[r * Tile<Kept>::kVectors + v];
        // kMagic + dot as float, times scale, less kMagic * scale: both round scale * dot once.
        const auto product = kTakesBytes<Kept>
                                 ? hn::MulSub(hn::BitCast(d, sum), scales,
                                              hn::Load(d, sweep.block.offsets + v * kLanes))
                                 : hn::Mul(hn::ConvertTo(d, sum), scales);
        hn::Store(
            kFirst ? hn::Mul(product, row_scale) : hn::MulAdd(product, row_scale, hn::Load(d, to)),
            d, to);
      });
    });
    sweep.PrefetchOut(tile * kRows, kRows);
    rows += kRows * stride;
    row_scales += kRows;
    out += kRows * kPanelFeatures;
  }
}

// The last `rows` < kRows of a group.
template <class Kept, size_t kRows, bool kFirst>
void MultiplyLastRows(const Sweep& sweep, size_t rows) {
  if constexpr (kRows > 0) {
    if (rows == kRows) return MultiplyRows<Kept, kRows, kFirst>(sweep, 1);
    MultiplyLastRows<Kept, kRows - 1, kFirst>(sweep, rows);
  }
}

template <class Kept, bool kFirst>
void MultiplyTile(const Sweep& sweep, size_t num_rows) {
  const size_t num_tiles = num_rows / Tile<Kept>::kRows, whole = num_tiles * Tile<Kept>::kRows;
  MultiplyRows<Kept, Tile<Kept>::kRows, kFirst>(sweep, num_tiles);
  MultiplyLastRows<Kept, Tile<Kept>::kRows - 1, kFirst>(sweep.From(whole), num_rows - whole);
}

// All features of a panel, a tile's at a time.
template <class Kept, bool kFirst>
void MultiplyPanel(const Sweep& sweep, size_t num_rows) {
  for (size_t n = 0; n < kPanelFeatures; n += kTileFeatures<Kept>) {
    Sweep tile = sweep;
    tile.sums += n;
    tile.block = {
        reinterpret_cast<std::byte*>(PanelDwords<Kept>(sweep.block.values, sweep.num_k, n, 0)),
        sweep.block.starts + n, sweep.block.scales + n, sweep.block.offsets + n};
    if (n > 0) tile.out = nullptr;
    MultiplyTile<Kept, kFirst>(tile, num_rows);
  }
}

// sums = (kFirst ? 0 : sums) + scaled products of the first num_rows rows.
template <class Kept, bool kFirst>
void MultiplyBlock(const Sweep& sweep, size_t num_rows, bool uses_tiles) {
  size_t done = 0;
  if constexpr (kTakesBytes<Kept>) {
    if (uses_tiles) {
      done = num_rows / kSquare * kSquare;
      MultiplyTiles<AmxTiles, kFirst>(sweep, done);
    }
  }
  if (done < num_rows) MultiplyPanel<Kept, kFirst>(sweep.From(done), num_rows - done);
}

// The group's rows at block `block` of K.
template <class Kept>
Sweep MakeSweep(const Int8Job& job, RowGroup rows, size_t block, const Int8Scratch& scratch) {
  const uint8_t* bytes = job.SlabRow(block, rows.begin);
  const size_t width = job.layout.width(block);
  Sweep sweep = {.x = reinterpret_cast<const std::byte*>(bytes),
                 .x_stride = width,
                 .row_scales = job.RowScale(block, rows.begin),
                 .num_k = width,
                 .out_stride = job.call.out_stride};
  if constexpr (!kTakesBytes<Kept>) {
    const hn::ScalableTag<int16_t> di16;
    const hn::Rebind<uint8_t, decltype(di16)> du8;
    for (size_t i = 0; i < rows.count * width; i += hn::Lanes(di16)) {
      __builtin_prefetch(bytes + i + 2048);
      const auto wide = hn::PromoteTo(di16, hn::LoadU(du8, bytes + i));
      hn::Store(hn::Sub(wide, hn::Set(di16, 128)), di16, scratch.wide + i);
    }
    sweep.x = reinterpret_cast<const std::byte*>(scratch.wide);
    sweep.x_stride = width * sizeof(int16_t);
  }
  return sweep;
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace ingot::cpu
HWY_AFTER_NAMESPACE();

#endif  // INGOT_DEVICES_CPU_LINEAR_INT8_PRODUCT_INL_H_
