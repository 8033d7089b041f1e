// Runs one op by the kernels of the CUDA device and compares them with the reference kernels of the
// CPU. The GPU is that of cuda_gpu.h.
#pragma once

#include <vector>

#include "cuda_gpu.h"
#include "harness.h"

namespace ingot::conformance {

// Output of the kernels.
std::vector<float> RunCuda(const Case& test, GpuModel gpu = GpuModel::kHopper);

// The same strip by strip of `strip_rows` rows, for what takes strips (op_call.h): GroupNormStats,
// of the rows of x; a Conv2d of 3x3 with one pixel of padding, of the rows of its output.
std::vector<float> RunCudaInStrips(const Case& test, int64_t strip_rows,
                                   GpuModel gpu = GpuModel::kHopper);

// Facts: the kernels are within the case's tolerance of the reference; the order in which threads
// and streams get their turns changes no bit; all of the output is written, none of the poison
// (NaN) in it, in the workspace or beside the operands is read, and nothing else is written; views
// in runs and an output in the place of the operand that the device names change no bit.
void ExpectCudaConforms(const Case& test, GpuModel gpu = GpuModel::kHopper);

}  // namespace ingot::conformance
