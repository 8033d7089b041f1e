// Linear layer: every output is one dot product in double.
#include <vector>

#include "devices/cpu/dequantize.h"
#include "devices/cpu/reference/reference.h"

namespace ingot::cpu::reference {

void Run(const op::Linear&, const OpCall& call, ThreadPool& pool) {
  const ConstTensorView& weight = call.inputs[1];
  const auto x = call.inputs[0].As<float>();
  const auto out = call.output.As<float>();
  const size_t features = static_cast<size_t>(weight.shape[0]);
  const size_t k = static_cast<size_t>(weight.shape[1]);
  const size_t rows = x.size() / k;
  pool.ParallelFor(features, [&](size_t n, size_t) {
    std::vector<float> w(k);
    DequantizeWeightRow(weight, static_cast<int64_t>(n), w.data());
    const double bias = call.inputs.size() == 3 ? call.inputs[2].As<float>()[n] : 0.0;
    for (size_t m = 0; m < rows; ++m) {
      double sum = 0.0;
      for (size_t i = 0; i < k; ++i) sum += static_cast<double>(x[m * k + i]) * w[i];
      out[m * features + n] = static_cast<float>(sum + bias);
    }
  });
}

}  // namespace ingot::cpu::reference
