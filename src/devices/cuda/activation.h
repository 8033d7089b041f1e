// The activations of networks, for all kernels that apply one.
#pragma once

#include "devices/cuda/kernel.h"
#include "graph/op.h"

namespace ingot::cuda {

// x * sigmoid(z) for the z of the kind: 0.5 (1 + tanh(u)) is sigmoid(2u).
__device__ inline float Activate(op::UnaryKind kind, float x) {
  constexpr float kSqrt2OverPi = 0.79788456080286535588f;
  float z = x;
  if (kind == op::UnaryKind::kGeluTanh) z = 2.0f * kSqrt2OverPi * (x + 0.044715f * x * x * x);
  if (kind == op::UnaryKind::kQuickGelu) z = 1.702f * x;
  return x / (1.0f + expf(-z));
}

}  // namespace ingot::cuda
