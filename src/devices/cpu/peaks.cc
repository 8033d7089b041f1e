#include "devices/cpu/peaks.h"

#include <cstdint>
#include <functional>
#include <vector>

#include "base/stopwatch.h"
#include "devices/cpu/amx.h"
#include "devices/cpu/cpu_target.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "devices/cpu/peaks.cc"
#include <hwy/foreach_target.h>  // IWYU pragma: keep

#include "devices/cpu/dot_products-inl.h"

HWY_BEFORE_NAMESPACE();
namespace ingot::cpu {
namespace HWY_NAMESPACE {
namespace {

namespace hn = hwy::HWY_NAMESPACE;

constexpr size_t kChains = 10;  // hide a latency of 5 cycles on two ports
constexpr size_t kRounds = 1 << 20;

// Runs kChains * kRounds instructions. An array of accumulators would stay in memory here: each
// chain is a variable of its own.
template <class V, class Step>
HWY_INLINE V RunChains(V start, V increment, const Step& step) {
  V s0 = start, s1 = hn::Add(s0, increment), s2 = hn::Add(s1, increment);
  V s3 = hn::Add(s2, increment), s4 = hn::Add(s3, increment), s5 = hn::Add(s4, increment);
  V s6 = hn::Add(s5, increment), s7 = hn::Add(s6, increment), s8 = hn::Add(s7, increment);
  V s9 = hn::Add(s8, increment);
  for (size_t round = 0; round < kRounds; ++round) {
    step(s0), step(s1), step(s2), step(s3), step(s4);
    step(s5), step(s6), step(s7), step(s8), step(s9);
  }
  const V low = hn::Add(hn::Add(hn::Add(s0, s1), hn::Add(s2, s3)), s4);
  return hn::Add(low, hn::Add(hn::Add(hn::Add(s5, s6), hn::Add(s7, s8)), s9));
}

// Each returns the operations that it ran.
double RunF32(float* sink) {
  const hn::ScalableTag<float> d;
  using V = hn::Vec<decltype(d)>;
  const V factor = hn::Set(d, 0.999f), term = hn::Set(d, *sink);
  *sink =
      hn::GetLane(RunChains(term, factor, [&](V& sum) { sum = hn::MulAdd(sum, factor, term); }));
  return 2.0 * kRounds * kChains * static_cast<double>(hn::Lanes(d));
}

// Four sums hide the latency of a product of tiles, 52 cycles at one in 16.
double RunTiles() {
  const AmxTiles tiles;
  for (size_t round = 0; round < kRounds; ++round) {
    tiles.MultiplyAdd<0, 4, 6>();
    tiles.MultiplyAdd<1, 4, 7>();
    tiles.MultiplyAdd<2, 5, 6>();
    tiles.MultiplyAdd<3, 5, 7>();
  }
  return 4.0 * kRounds * 2 * kAmxRows * kAmxRows * kAmxRowBytes;
}

template <class Kept>
double RunDotProducts(int32_t* sink) {
  const hn::ScalableTag<int32_t> d;
  const DotSums a = hn::Set(d, *sink), b = hn::Set(d, *sink + 1);
  *sink =
      hn::GetLane(RunChains(a, b, [&](DotSums& sum) HWY_ATTR { Kept::AddProducts(sum, a, b); }));
  return 2.0 * Kept::kPerDword * kRounds * kChains * static_cast<double>(hn::Lanes(d));
}

double RunInt8(int32_t* sink) {
  if (UsesAmx()) return RunTiles();
  return WithKept8([&]<class Kept>(Kept) { return RunDotProducts<Kept>(sink); });
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace ingot::cpu
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace ingot::cpu {
namespace {

HWY_EXPORT(RunF32);
HWY_EXPORT(RunInt8);

// Operations a second of `run` on every thread, the better of three rounds.
template <typename T, typename Run>
double Rate(ThreadPool& pool, const Run& run) {
  struct Slot {
    alignas(64) T sink;
    double num_ops;
  };
  std::vector<Slot> slots(pool.num_threads());
  double best = 0;
  for (int attempt = 0; attempt < 3; ++attempt) {
    for (Slot& slot : slots) slot.sink = T{1};
    const auto body = [&](size_t item, size_t) { slots[item].num_ops = run(&slots[item].sink); };
    const Stopwatch watch;
    pool.ParallelFor(slots.size(), std::cref(body));
    double num_ops = 0;
    for (const Slot& slot : slots) num_ops += slot.num_ops;
    best = std::max(best, num_ops / watch.seconds());
  }
  return best;
}

}  // namespace

Peaks MeasurePeaks(ThreadPool& pool) {
  return {Rate<float>(pool, [](float* sink) { return HWY_DYNAMIC_DISPATCH(RunF32)(sink); }),
          Rate<int32_t>(pool, [](int32_t* sink) { return HWY_DYNAMIC_DISPATCH(RunInt8)(sink); })};
}

}  // namespace ingot::cpu
#endif  // HWY_ONCE
