// Winograd's minimal filtering F(4x4, 3x3): 36 products give 16 outputs of a 3x3 filter. Compiled
// once per SIMD target.
//
// Points 0, +-sqrt(1/2), +-sqrt(2) and infinity (Barabasz et al., "Error analysis and improving the
// accuracy of Winograd convolution", 2018, say why not +-1, +-2): the error of int16 products is
// 1.0e-3 with them and 2.6e-3 with +-1, +-2. Multiplications of vectors by constants only.
#include <cstddef>

#if defined(INGOT_DEVICES_CPU_WINOGRAD_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef INGOT_DEVICES_CPU_WINOGRAD_INL_H_
#undef INGOT_DEVICES_CPU_WINOGRAD_INL_H_
#else
#define INGOT_DEVICES_CPU_WINOGRAD_INL_H_
#endif

#include <hwy/highway.h>

HWY_BEFORE_NAMESPACE();
namespace ingot::cpu {
namespace HWY_NAMESPACE {
namespace {

namespace hn = hwy::HWY_NAMESPACE;

constexpr size_t kWinogradTile = 4;                                // outputs along an edge
constexpr size_t kWinogradEdge = 6;                                // inputs, and points
constexpr size_t kWinogradPoints = kWinogradEdge * kWinogradEdge;  // row-major

constexpr float kSqrtHalf = 0.707106781f, kSqrt2 = 1.41421356f;

// Six inputs in a line -> their values at the six points.
template <class D, class V = hn::Vec<D>>
HWY_INLINE void TransformInputLine(D d, const V (&x)[6], V (&out)[6]) {
  const V half = hn::Set(d, 0.5f), two = hn::Set(d, 2.0f), sum = hn::Set(d, 2.5f);
  const V a = hn::Set(d, kSqrtHalf), b = hn::Set(d, kSqrt2);
  const V even1 = hn::NegMulAdd(two, x[2], x[4]), odd1 = hn::NegMulAdd(two, x[1], x[3]);
  const V even2 = hn::NegMulAdd(half, x[2], x[4]), odd2 = hn::NegMulAdd(half, x[1], x[3]);
  out[0] = hn::Add(x[0], hn::NegMulAdd(sum, x[2], x[4]));
  out[1] = hn::MulAdd(a, odd1, even1);
  out[2] = hn::NegMulAdd(a, odd1, even1);
  out[3] = hn::MulAdd(b, odd2, even2);
  out[4] = hn::NegMulAdd(b, odd2, even2);
  out[5] = hn::Add(x[1], hn::NegMulAdd(sum, x[3], x[5]));
}

// Three weights in a line -> their values at the six points.
template <class D, class V = hn::Vec<D>>
HWY_INLINE void TransformWeightLine(D d, const V (&w)[3], V (&out)[6]) {
  const V at1 = hn::Set(d, -2.0f / 3.0f), at2 = hn::Set(d, 1.0f / 6.0f);
  const V even1 = hn::Mul(at1, hn::MulAdd(hn::Set(d, 0.5f), w[2], w[0]));
  const V even2 = hn::Mul(at2, hn::MulAdd(hn::Set(d, 2.0f), w[2], w[0]));
  const V odd1 = hn::Mul(hn::Set(d, -2.0f / 3.0f * kSqrtHalf), w[1]);
  const V odd2 = hn::Mul(hn::Set(d, 1.0f / 6.0f * kSqrt2), w[1]);
  out[0] = w[0];
  out[1] = hn::Add(even1, odd1);
  out[2] = hn::Sub(even1, odd1);
  out[3] = hn::Add(even2, odd2);
  out[4] = hn::Sub(even2, odd2);
  out[5] = w[2];
}

// Products at the six points -> four outputs in a line.
template <class D, class V = hn::Vec<D>>
HWY_INLINE void TransformOutputLine(D d, const V (&m)[6], V (&out)[4]) {
  const V sum1 = hn::Add(m[1], m[2]), difference1 = hn::Sub(m[1], m[2]);
  const V sum2 = hn::Add(m[3], m[4]), difference2 = hn::Sub(m[3], m[4]);
  const V a = hn::Set(d, kSqrtHalf), b = hn::Set(d, kSqrt2);
  const V a3 = hn::Set(d, 0.5f * kSqrtHalf), b3 = hn::Set(d, 2.0f * kSqrt2);
  out[0] = hn::Add(m[0], hn::Add(sum1, sum2));
  out[1] = hn::MulAdd(b, difference2, hn::Mul(a, difference1));
  out[2] = hn::MulAdd(hn::Set(d, 2.0f), sum2, hn::Mul(hn::Set(d, 0.5f), sum1));
  out[3] = hn::MulAdd(b3, difference2, hn::MulAdd(a3, difference1, m[5]));
}

// load(row, column) of 6x6 inputs -> store(point, value).
template <class D, class Load, class Store>
HWY_INLINE void TransformInput(D d, const Load& load, const Store& store) {
  using V = hn::Vec<D>;
  V columns[6][6];  // [column of the inputs][point along the rows]
  HWY_UNROLL(6)
  for (size_t j = 0; j < 6; ++j) {
    const V x[6] = {load(0, j), load(1, j), load(2, j), load(3, j), load(4, j), load(5, j)};
    TransformInputLine(d, x, columns[j]);
  }
  HWY_UNROLL(6)
  for (size_t i = 0; i < 6; ++i) {
    const V x[6] = {columns[0][i], columns[1][i], columns[2][i],
                    columns[3][i], columns[4][i], columns[5][i]};
    V out[6];
    TransformInputLine(d, x, out);
    HWY_UNROLL(6)
    for (size_t j = 0; j < 6; ++j) store(6 * i + j, out[j]);
  }
}

// A 3x3 filter -> store(point, value).
template <class D, class Store, class V = hn::Vec<D>>
HWY_INLINE void TransformWeights(D d, const V (&w)[9], const Store& store) {
  V columns[3][6];
  for (size_t j = 0; j < 3; ++j) {
    const V line[3] = {w[j], w[3 + j], w[6 + j]};
    TransformWeightLine(d, line, columns[j]);
  }
  for (size_t i = 0; i < 6; ++i) {
    const V line[3] = {columns[0][i], columns[1][i], columns[2][i]};
    V out[6];
    TransformWeightLine(d, line, out);
    for (size_t j = 0; j < 6; ++j) store(6 * i + j, out[j]);
  }
}

// load(point) -> store(row, column, value) of 4x4 outputs.
template <class D, class Load, class Store>
HWY_INLINE void TransformOutput(D d, const Load& load, const Store& store) {
  using V = hn::Vec<D>;
  V columns[6][4];
  HWY_UNROLL(6)
  for (size_t j = 0; j < 6; ++j) {
    const V m[6] = {load(j), load(6 + j), load(12 + j), load(18 + j), load(24 + j), load(30 + j)};
    TransformOutputLine(d, m, columns[j]);
  }
  HWY_UNROLL(4)
  for (size_t i = 0; i < 4; ++i) {
    const V m[6] = {columns[0][i], columns[1][i], columns[2][i],
                    columns[3][i], columns[4][i], columns[5][i]};
    V out[4];
    TransformOutputLine(d, m, out);
    HWY_UNROLL(4)
    for (size_t j = 0; j < 4; ++j) store(i, j, out[j]);
  }
}

// Nearest 2x then a 3x3 filter is four 3x3 filters on the small picture, one for each phase of the
// output's rows and columns: along a line (w0, w1 + w2, 0) and (0, w0 + w1, w2). So phase 0 has a
// weight of zero at infinity and phase 1 at 0: 25 of the 36 products are left.
HWY_INLINE bool PhaseSkips(size_t phase, size_t point) {
  const size_t zero_row = phase / 2 == 0 ? 5 : 0, zero_column = phase % 2 == 0 ? 5 : 0;
  return point / 6 == zero_row || point % 6 == zero_column;
}

template <class D, class V = hn::Vec<D>>
HWY_INLINE void PhaseWeights(D d, size_t phase, V (&w)[9]) {
  const auto fold = [&](V& w0, V& w1, V& w2, bool second) {
    w1 = hn::Add(w1, second ? w0 : w2);
    (second ? w0 : w2) = hn::Zero(d);
  };
  for (size_t j = 0; j < 3; ++j) fold(w[j], w[3 + j], w[6 + j], phase / 2 == 1);
  for (size_t i = 0; i < 9; i += 3) fold(w[i], w[i + 1], w[i + 2], phase % 2 == 1);
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace ingot::cpu
HWY_AFTER_NAMESPACE();

#endif  // INGOT_DEVICES_CPU_WINOGRAD_INL_H_
