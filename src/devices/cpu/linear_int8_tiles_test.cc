// Products by tiles against plain loops: with the tiles of AMX where the processor has them, and
// with arrays in their place everywhere.
#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <random>
#include <string>
#include <vector>

#include "devices/cpu/amx.h"
#include "devices/cpu/linear_int8_job.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "devices/cpu/linear_int8_tiles_test.cc"
#include <hwy/foreach_target.h>  // IWYU pragma: keep

#include "devices/cpu/linear_int8_tiles-inl.h"

#ifndef INGOT_DEVICES_CPU_LINEAR_INT8_TILES_TEST_ONCE_
#define INGOT_DEVICES_CPU_LINEAR_INT8_TILES_TEST_ONCE_
namespace ingot::cpu {

// AmxTiles by its documentation.
struct ArrayTiles {
  using Tile = uint8_t[kAmxRows][kAmxRowBytes];
  static inline Tile tiles[8];

  template <int kTile>
  static void Load(const void* from, size_t stride) {
    for (size_t row = 0; row < kAmxRows; ++row) {
      std::memcpy(tiles[kTile][row], static_cast<const std::byte*>(from) + row * stride,
                  kAmxRowBytes);
    }
  }
  template <int kTile>
  static void Store(void* to, size_t stride) {
    for (size_t row = 0; row < kAmxRows; ++row) {
      std::memcpy(static_cast<std::byte*>(to) + row * stride, tiles[kTile][row], kAmxRowBytes);
    }
  }
  template <int kSum, int kA, int kB>
  static void MultiplyAdd() {
    for (size_t m = 0; m < kAmxRows; ++m) {
      for (size_t n = 0; n < kAmxRows; ++n) {
        int32_t sum;
        std::memcpy(&sum, &tiles[kSum][m][4 * n], sizeof sum);
        for (size_t k = 0; k < kAmxRowBytes; ++k) {
          sum += int32_t{tiles[kA][m][k]} * static_cast<int8_t>(tiles[kB][k / 4][4 * n + k % 4]);
        }
        std::memcpy(&tiles[kSum][m][4 * n], &sum, sizeof sum);
      }
    }
  }
};

}  // namespace ingot::cpu
#endif  // INGOT_DEVICES_CPU_LINEAR_INT8_TILES_TEST_ONCE_

HWY_BEFORE_NAMESPACE();
namespace ingot::cpu {
namespace HWY_NAMESPACE {
namespace {

template <class Amx>
void Multiply(const Sweep& sweep, size_t num_rows, bool first) {
  if (first) {
    MultiplyTiles<Amx, true>(sweep, num_rows);
  } else {
    MultiplyTiles<Amx, false>(sweep, num_rows);
  }
}

void MultiplyByArrays(const Sweep& sweep, size_t num_rows, bool first) {
  Multiply<ArrayTiles>(sweep, num_rows, first);
}

void MultiplyByAmx(const Sweep& sweep, size_t num_rows, bool first) {
  const AmxTiles tiles;
  Multiply<AmxTiles>(sweep, num_rows, first);
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace ingot::cpu
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace ingot::cpu {
namespace {

HWY_EXPORT(MultiplyByArrays);
HWY_EXPORT(MultiplyByAmx);

// A block of random bytes of K = num_k.
class LinearInt8Tiles : public testing::TestWithParam<size_t> {
 protected:
  static constexpr size_t kRows = 96;

  LinearInt8Tiles() {
    std::mt19937 random(1);
    const auto fill = [&](auto& values, int low, int high) {
      std::uniform_int_distribution<int> number(low, high);
      for (auto& value : values) value = static_cast<std::decay_t<decltype(value)>>(number(random));
    };
    fill(x_, 1, 255);
    fill(weights_, -127, 127);
    fill(row_scales_, 1, 9);
    fill(scales_, 4, 64);
    fill(sums_, -1000, 1000);
    for (float& scale : scales_) scale *= 0x1p-10f;
    for (size_t n = 0; n < kPanelFeatures; ++n) {
      int32_t sum = 0;
      for (size_t k = 0; k < num_k_; ++k) sum += Weight(n, k);
      starts_[n] = std::bit_cast<int32_t>(kMagic) - 128 * sum;
      offsets_[n] = scales_[n] * kMagic;
    }
  }

  int8_t Weight(size_t n, size_t k) const {
    return weights_[(k / 4 * kPanelFeatures + n) * 4 + k % 4];
  }

  // y = fma(round(S * dot), s, y) of linear_int8.h.
  std::vector<float> Expected(bool first) const {
    std::vector<float> sums(kRows * kPanelFeatures);
    for (size_t row = 0; row < kRows; ++row) {
      for (size_t n = 0; n < kPanelFeatures; ++n) {
        int32_t dot = 0;
        for (size_t k = 0; k < num_k_; ++k) {
          dot += (x_[row * num_k_ + k] - 128) * Weight(n, k);
        }
        const size_t at = row * kPanelFeatures + n;
        const float product = scales_[n] * static_cast<float>(dot);
        sums[at] =
            first ? product * row_scales_[row] : std::fma(product, row_scales_[row], sums_[at]);
      }
    }
    return sums;
  }

  template <class Multiply>
  std::vector<float> Found(const Multiply& multiply, bool first) {
    alignas(64) std::byte panel[kScaleK * kPanelFeatures];
    alignas(64) float sums[kRows * kPanelFeatures];
    std::memcpy(panel, weights_.data(), weights_.size());
    std::copy(sums_.begin(), sums_.end(), sums);
    multiply({.x = reinterpret_cast<const std::byte*>(x_.data()),
              .x_stride = num_k_,
              .row_scales = row_scales_.data(),
              .block = {panel, starts_, scales_, offsets_},
              .num_k = num_k_,
              .sums = sums,
              .out = nullptr,
              .out_stride = 0},
             kRows, first);
    return {sums, sums + sums_.size()};
  }

  const size_t num_k_ = GetParam();
  std::vector<uint8_t> x_ = std::vector<uint8_t>(kRows * num_k_);
  std::vector<int8_t> weights_ = std::vector<int8_t>(num_k_ * kPanelFeatures);
  std::vector<float> row_scales_ = std::vector<float>(kRows);
  std::vector<float> sums_ = std::vector<float>(kRows * kPanelFeatures);
  alignas(64) float scales_[kPanelFeatures];
  alignas(64) float offsets_[kPanelFeatures];
  alignas(64) int32_t starts_[kPanelFeatures];
};

TEST_P(LinearInt8Tiles, OfArraysGiveTheSumsOfPlainLoops) {
  const auto multiply = [](const Sweep& sweep, size_t num_rows, bool first) {
    HWY_DYNAMIC_DISPATCH(MultiplyByArrays)(sweep, num_rows, first);
  };
  for (bool first : {true, false}) EXPECT_EQ(Found(multiply, first), Expected(first));
}

TEST_P(LinearInt8Tiles, OfAmxGiveTheSumsOfPlainLoops) {
  if (!HasAmx()) GTEST_SKIP() << "no AMX here";
  const auto multiply = [](const Sweep& sweep, size_t num_rows, bool first) {
    HWY_DYNAMIC_DISPATCH(MultiplyByAmx)(sweep, num_rows, first);
  };
  for (bool first : {true, false}) EXPECT_EQ(Found(multiply, first), Expected(first));
}

INSTANTIATE_TEST_SUITE_P(K, LinearInt8Tiles, testing::Values(64, 128, 256),
                         [](const auto& info) { return std::to_string(info.param); });

}  // namespace
}  // namespace ingot::cpu
#endif  // HWY_ONCE
