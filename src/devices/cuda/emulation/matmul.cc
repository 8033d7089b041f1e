#include "devices/cuda/matmul.h"

#include <algorithm>
#include <vector>

#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_fp8.h>

#include "base/check.h"
#include "base/status.h"
#include "devices/cuda/runtime.h"

namespace ingot::cuda {
namespace {

template <class T>
float ToFloat(T x) {
  if constexpr (std::is_same_v<T, float>) return x;
  if constexpr (std::is_same_v<T, __half>) return __half2float(x);
  if constexpr (std::is_same_v<T, __nv_bfloat16>) return __bfloat162float(x);
  if constexpr (std::is_same_v<T, __nv_fp8_e4m3>) return F8E4M3ToF32(x.__x);
}

template <class T>
std::vector<float> Floats(const void* matrix, int64_t count) {
  const auto* from = static_cast<const T*>(matrix);
  std::vector<float> values(static_cast<size_t>(count));
  for (size_t i = 0; i < values.size(); ++i) values[i] = ToFloat(from[i]);
  return values;
}

// Each sum in eight chains, as one would wait for its sum at every term; four rows of x share the
// loads of a row of the weight.
template <class T>
void Multiply(const MatmulCall& call) {
  constexpr int kNumChains = 8, kNumRows = 4;
  const std::vector<float> x = Floats<T>(call.x, call.m * call.k);
  const std::vector<float> weight = Floats<T>(call.weight, call.n * call.k);
  for (int64_t m = 0; m < call.m; m += kNumRows) {
    const auto num_rows = static_cast<int>(std::min<int64_t>(kNumRows, call.m - m));
    const float* rows[kNumRows];
    for (int r = 0; r < kNumRows; ++r)
      rows[r] = x.data() + (m + std::min(r, num_rows - 1)) * call.k;
    for (int64_t n = 0; n < call.n; ++n) {
      const float* column = weight.data() + n * call.k;
      float sums[kNumRows][kNumChains] = {};
      int64_t k = 0;
      for (; k + kNumChains <= call.k; k += kNumChains) {
        for (int r = 0; r < kNumRows; ++r) {
          for (int i = 0; i < kNumChains; ++i) sums[r][i] += rows[r][k + i] * column[k + i];
        }
      }
      for (; k < call.k; ++k) {
        for (int r = 0; r < kNumRows; ++r) sums[r][0] += rows[r][k] * column[k];
      }
      for (int r = 0; r < num_rows; ++r) {
        float sum = call.bias != nullptr ? call.bias[n] : 0.0f;
        for (float part : sums[r]) sum += part;
        call.y[(m + r) * call.y_stride + n] = sum;
      }
    }
  }
}

class PlainMatmul final : public Matmul {
 public:
  explicit PlainMatmul(int compute_capability) : compute_capability_(compute_capability) {}

  DType half_type() const override { return HalfTypeOf(compute_capability_); }
  bool multiplies_f8() const override { return MultipliesF8(compute_capability_); }
  void Run(const MatmulCall& call, std::span<std::byte> workspace, cudaStream_t stream) override {
    INGOT_CHECK(Takes(call));
    INGOT_CHECK(static_cast<int64_t>(workspace.size()) >= kWorkspaceBytes);
    (void)cuda_emulation::Enqueue(stream, [call] {
      if (call.dtype == DType::kF32) return Multiply<float>(call);
      if (call.dtype == DType::kF8E4M3) return Multiply<__nv_fp8_e4m3>(call);
      call.dtype == DType::kF16 ? Multiply<__half>(call) : Multiply<__nv_bfloat16>(call);
    });
  }
  Status TakeError() override { return {}; }

 private:
  const int compute_capability_;
};

}  // namespace

const int64_t Matmul::kWorkspaceBytes = 256;

Result<std::unique_ptr<Matmul>> Matmul::Open() {
  INGOT_ASSIGN_OR_RETURN(const int compute_capability, ReadComputeCapability());
  return std::unique_ptr<Matmul>(std::make_unique<PlainMatmul>(compute_capability));
}

}  // namespace ingot::cuda
