#include "devices/cuda/matmul.h"

#include <cuda_bf16.h>

#include "base/check.h"
#include "base/status.h"

namespace ingot::cuda {
namespace {

template <class T>
float ToFloat(T x) {
  if constexpr (std::is_same_v<T, float>) return x;
  if constexpr (std::is_same_v<T, __nv_bfloat16>) return __bfloat162float(x);
}

template <class T>
void Multiply(const MatmulCall& call) {
  const auto* x = static_cast<const T*>(call.x);
  const auto* weight = static_cast<const T*>(call.weight);
  // Columns one after the other: the weight as [k] floats, against every row.
  std::vector<float> column(static_cast<size_t>(call.k));
  std::vector<float> rows(static_cast<size_t>(call.m * call.k));
  for (size_t i = 0; i < rows.size(); ++i) rows[i] = ToFloat(x[i]);
  for (int64_t n = 0; n < call.n; ++n) {
    for (int64_t k = 0; k < call.k; ++k) {
      column[static_cast<size_t>(k)] = ToFloat(weight[n * call.k + k]);
    }
    for (int64_t m = 0; m < call.m; ++m) {
      // Eight chains, as one would wait for its sum at every term.
      constexpr int kNumChains = 8;
      float sums[kNumChains] = {};
      const float* row = rows.data() + m * call.k;
      int64_t k = 0;
      for (; k + kNumChains <= call.k; k += kNumChains) {
        for (int i = 0; i < kNumChains; ++i)
          sums[i] += row[k + i] * column[static_cast<size_t>(k + i)];
      }
      for (; k < call.k; ++k) sums[0] += row[k] * column[static_cast<size_t>(k)];
      float sum = call.bias != nullptr ? call.bias[n] : 0.0f;
      for (float part : sums) sum += part;
      call.y[m * call.y_stride + n] = sum;
    }
  }
}

class PlainMatmul final : public Matmul {
 public:
  void Run(const MatmulCall& call, std::span<std::byte> workspace, cudaStream_t stream) override {
    INGOT_CHECK(call.dtype == DType::kBF16 || call.dtype == DType::kF32);
    INGOT_CHECK(static_cast<int64_t>(workspace.size()) >= kWorkspaceBytes);
    (void)cuda_emulation::Enqueue(stream, [call] {
      call.dtype == DType::kF32 ? Multiply<float>(call) : Multiply<__nv_bfloat16>(call);
    });
  }
  Status TakeError() override { return {}; }
};

}  // namespace

const int64_t Matmul::kWorkspaceBytes = 256;

Result<std::unique_ptr<Matmul>> Matmul::Open() {
  return std::unique_ptr<Matmul>(std::make_unique<PlainMatmul>());
}

}  // namespace ingot::cuda
