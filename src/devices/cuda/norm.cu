#include "devices/cuda/norm.h"

#include "devices/cuda/rows.h"

namespace ingot::cuda {
namespace {

// weight and bias: null for none.
template <int kTeam>
__global__ void LayerNormKernel(Rows<const float> xs, const float* weight, const float* bias,
                                float eps, Rows<float> outs, unsigned num_rows) {
  const unsigned row = RowOfTeam<kTeam>();
  if (row >= num_rows) return;
  const float* x = xs[row];
  float* out = outs[row];
  const int64_t width = xs.width;
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

template <int kTeam>
__global__ void RmsNormKernel(Rows<const float> xs, const float* weight, float eps,
                              Rows<float> outs, unsigned num_rows) {
  const unsigned row = RowOfTeam<kTeam>();
  if (row >= num_rows) return;
  const float* x = xs[row];
  float* out = outs[row];
  const int64_t width = xs.width;
  const float inverse_rms = InverseRms<kTeam>(x, width, eps);
  ForQuads<kTeam>(width, [&](int64_t begin) {
    const Quad scale = LoadQuad(weight, begin, width);
    StoreQuad(RmsNormalized(LoadQuad(x, begin, width), inverse_rms, scale), out, begin, width);
  });
}

}  // namespace

void Run(const op::LayerNorm& op, const OpCall& call, const Context& context) {
  const int64_t width = call.output.shape.back();
  const auto num_rows = static_cast<unsigned>(call.output.shape.num_elements() / width);
  const bool has_weight = call.inputs.size() == 3;
  const auto parameter = [&](size_t idx) {
    return has_weight ? reinterpret_cast<const float*>(call.inputs[idx].data) : nullptr;
  };
  WithTeam(width, [&]<int kTeam>(std::integral_constant<int, kTeam>) {
    Launch(GridOfTeams(kTeam, num_rows), context.stream, LayerNormKernel<kTeam>,
           RowsOf<const float>(call.inputs[0], width), parameter(1), parameter(2), op.eps,
           RowsOf<float>(call.output, width), num_rows);
  });
}

void Run(const op::RmsNorm& op, const OpCall& call, const Context& context) {
  const int64_t width = call.output.shape.back();
  const auto num_rows = static_cast<unsigned>(call.output.shape.num_elements() / width);
  WithTeam(width, [&]<int kTeam>(std::integral_constant<int, kTeam>) {
    Launch(GridOfTeams(kTeam, num_rows), context.stream, RmsNormKernel<kTeam>,
           RowsOf<const float>(call.inputs[0], width),
           reinterpret_cast<const float*>(call.inputs[1].data), op.eps,
           RowsOf<float>(call.output, width), num_rows);
  });
}

}  // namespace ingot::cuda
