// What an op's launches need beside its call.
#pragma once

#include <cuda_runtime.h>

namespace ingot::cuda {

class Matmul;

struct Context {
  cudaStream_t stream;
  Matmul& matmul;
};

}  // namespace ingot::cuda
