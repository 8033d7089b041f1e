#include "devices/cuda/norm.h"

#include "devices/cuda/rows.h"

namespace ingot::cuda {
namespace {

struct LayerNormOfRow {
  const float* weight;  // null: no weight and bias
  const float* bias;
  float eps;

  template <int kTeam>
  __device__ void Make(const float* x, int64_t width, float* out, unsigned) const {
    float sum = 0.0f;
    ForQuads<kTeam>(width, [&](int64_t begin) {
      const Quad quad = LoadQuad(x, begin, width);
      for (float value : quad.values) sum += value;
    });
    const float mean = __fdiv_rn(SumOfTeam<kTeam>(sum), static_cast<float>(width));
    float sum_of_squares = 0.0f;
    ForQuads<kTeam>(width, [&](int64_t begin) {
      const Quad quad = LoadQuad(x, begin, width);
      for (int i = 0; i < 4; ++i) {
        const float distance = begin + i < width ? quad.values[i] - mean : 0.0f;
        sum_of_squares = __fmaf_rn(distance, distance, sum_of_squares);
      }
    });
    const float variance = __fdiv_rn(SumOfTeam<kTeam>(sum_of_squares), static_cast<float>(width));
    const float inverse = __fdiv_rn(1.0f, __fsqrt_rn(variance + eps));
    ForQuads<kTeam>(width, [&](int64_t begin) {
      Quad quad = LoadQuad(x, begin, width);
      for (float& value : quad.values) value = (value - mean) * inverse;
      if (weight != nullptr) {
        const Quad scale = LoadQuad(weight, begin, width), shift = LoadQuad(bias, begin, width);
        for (int i = 0; i < 4; ++i) {
          quad.values[i] = __fmaf_rn(quad.values[i], scale.values[i], shift.values[i]);
        }
      }
      StoreQuad(quad, out, begin, width);
    });
  }
};

struct RmsNormOfRow {
  const float* weight;
  float eps;

  template <int kTeam>
  __device__ void Make(const float* x, int64_t width, float* out, unsigned) const {
    const float inverse_rms = InverseRms<kTeam>(x, width, eps);
    ForQuads<kTeam>(width, [&](int64_t begin) {
      const Quad scale = LoadQuad(weight, begin, width);
      StoreQuad(RmsNormalized(LoadQuad(x, begin, width), inverse_rms, scale), out, begin, width);
    });
  }
};

}  // namespace

void Run(const op::LayerNorm& op, const OpCall& call, const Context& context) {
  LayerNormOfRow of_row = {.eps = op.eps};
  if (call.inputs.size() == 3) {
    of_row.weight = FloatsOf(call.inputs[1]);
    of_row.bias = FloatsOf(call.inputs[2]);
  }
  MakeRows(of_row, call, context.stream);
}

void Run(const op::RmsNorm& op, const OpCall& call, const Context& context) {
  MakeRows(RmsNormOfRow{.weight = FloatsOf(call.inputs[1]), .eps = op.eps}, call, context.stream);
}

}  // namespace ingot::cuda
