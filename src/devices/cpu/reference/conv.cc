// Convolution: every output pixel is one sum over its window.
#include "devices/cpu/reference/reference.h"

namespace ingot::cpu::reference {
namespace {

struct Window {
  const op::Conv2d& op;
  ConstTensorView x;
  ConstTensorView weight;
  int64_t picture, filter;

  // Sum over the window of output pixel (row, col); outside of x is zero.
  double At(int64_t row, int64_t col) const {
    const int64_t channels = x.shape[1], height = x.shape[2], width = x.shape[3];
    const int64_t kh = weight.shape[2], kw = weight.shape[3];
    double sum = 0.0;
    for (int64_t c = 0; c < channels; ++c) {
      for (int64_t i = 0; i < kh; ++i) {
        for (int64_t j = 0; j < kw; ++j) {
          const int64_t y = row * op.stride + i - op.pad_top;
          const int64_t z = col * op.stride + j - op.pad_left;
          if (y < 0 || y >= height || z < 0 || z >= width) continue;
          sum += static_cast<double>(X(((picture * channels + c) * height + y) * width + z)) *
                 W(((filter * channels + c) * kh + i) * kw + j);
        }
      }
    }
    return sum;
  }

 private:
  float X(int64_t i) const { return reinterpret_cast<const float*>(x.data)[i]; }
  float W(int64_t i) const { return reinterpret_cast<const float*>(weight.data)[i]; }
};

}  // namespace

void Run(const op::Conv2d& op, const OpCall& call, ThreadPool& pool) {
  const Shape& shape = call.output.shape;
  const auto out = call.output.As<float>();
  const size_t filters = static_cast<size_t>(shape[1]);
  const size_t height = static_cast<size_t>(shape[2]);
  const size_t width = static_cast<size_t>(shape[3]);
  pool.ParallelFor(out.size() / width, [&](size_t row, size_t) {
    const size_t plane = row / height;
    const size_t filter = plane % filters;
    const Window window{op, call.inputs[0], call.inputs[1], static_cast<int64_t>(plane / filters),
                        static_cast<int64_t>(filter)};
    const double bias = call.inputs.size() == 3 ? call.inputs[2].As<float>()[filter] : 0.0;
    for (size_t col = 0; col < width; ++col) {
      const double sum = window.At(static_cast<int64_t>(row % height), static_cast<int64_t>(col));
      out[row * width + col] = static_cast<float>(sum + bias);
    }
  });
}

}  // namespace ingot::cpu::reference
